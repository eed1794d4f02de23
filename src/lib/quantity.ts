// SPDX-License-Identifier: Apache-2.0

const SUFFIXES: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A Kubernetes quantity as in `500m`, `1.5Gi`, `2e3`; undefined when the text is none or negative. */
export function parseQuantity(text: string): number | undefined {
  const match = /^\+?(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text);
  if (match === null) return undefined;
  const scale = match[2] === undefined ? SUFFIXES[match[3] ?? ""]! : 10 ** Number(match[2]);
  return Number(match[1]) * scale;
}

/** CPU in thousandths, rounded up as Kubernetes does. */
export function parseMilliCpu(text: string): number | undefined {
  const cores = parseQuantity(text);
  if (cores === undefined || cores > 100_000) return undefined;
  // The tolerance keeps 0.1 + rounding noise from becoming 101 thousandths.
  return Math.ceil(cores * 1000 - 1e-6);
}

/** Bytes, rounded up; nothing past 2^53, which no machine has. */
export function parseBytes(text: string): number | undefined {
  const bytes = parseQuantity(text);
  return bytes === undefined || bytes > Number.MAX_SAFE_INTEGER ? undefined : Math.ceil(bytes);
}
