// SPDX-License-Identifier: Apache-2.0

/** How fast bytes come, over the last seconds. */
export interface RateMeter {
  /** `bytes` have come by now, in all. */
  note(bytes: number, nowMs: number): void;
  /** Bytes a second; undefined until there is something to tell it from. */
  perSecond(nowMs: number): number | undefined;
}

const WINDOW_MS = 5000;
const SAMPLE_MS = 200;
/** Less says little. */
const SPAN_MS = 500;

export function rateMeter(): RateMeter {
  let samples: { readonly bytes: number; readonly atMs: number }[] = [];
  return {
    note(bytes, nowMs) {
      const last = samples.at(-1);
      // What was thrown away is begun anew.
      if (last !== undefined && bytes < last.bytes) samples = [];
      const isFirst = samples.length === 0;
      if (!isFirst && nowMs - samples.at(-1)!.atMs < SAMPLE_MS) return;
      samples.push({ bytes, atMs: nowMs });
      // One from before the window stays, to span it.
      while (samples.length > 2 && nowMs - samples[1]!.atMs > WINDOW_MS) samples.shift();
    },
    perSecond(nowMs) {
      const [first] = samples;
      const last = samples.at(-1);
      if (first === undefined || last === undefined || last === first) return undefined;
      const spanMs = nowMs - first.atMs;
      return spanMs < SPAN_MS ? undefined : ((last.bytes - first.bytes) * 1000) / spanMs;
    },
  };
}

/** Seconds until the rest has come; undefined where that cannot be told. */
export function secondsLeft(bytes: number, perSecond: number | undefined): number | undefined {
  if (perSecond === undefined || perSecond < 1) return bytes === 0 ? 0 : undefined;
  return Math.ceil(bytes / perSecond);
}
