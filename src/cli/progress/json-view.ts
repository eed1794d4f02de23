// SPDX-License-Identifier: Apache-2.0
import type { ImageProgress } from "../../gen/podrt/v1/podrt_pb.ts";
import { measurePaces } from "./pace.ts";
import type { ProgressView } from "./view.ts";

/** Bytes are told of at this distance, changes of state at once. */
const INTERVAL_MS = 250;

/** An object on a line of its own for each report; the rates are null while nothing is known of them. */
export function jsonView(write: (text: string) => Promise<void>): ProgressView {
  const paces = measurePaces();
  const last = new Map<string, { readonly states: string; readonly line: string; readonly atMs: number }>();
  const show = async (image: ImageProgress) => {
    const nowMs = performance.now();
    paces.note(image, nowMs);
    const { reference, phase, step } = image;
    const states = `${phase} ${image.layers.map(({ state }) => state).join(" ")}`;
    const before = last.get(reference);
    if (before?.states === states && nowMs - before.atMs < INTERVAL_MS) return;
    const { perSecond, secondsLeft } = paces.ofImage(image, nowMs);
    const line = JSON.stringify({
      reference,
      phase: phase || step,
      doneBytes: Number(image.doneBytes),
      totalBytes: Number(image.totalBytes),
      bytesPerSecond: perSecond === undefined ? null : Math.round(perSecond),
      secondsLeft: secondsLeft ?? null,
      layers: image.layers.map(({ digest, state, doneBytes, keptBytes, totalBytes }) => ({
        digest,
        state,
        doneBytes: Number(doneBytes),
        keptBytes: Number(keptBytes),
        totalBytes: Number(totalBytes),
      })),
    });
    last.set(reference, { states, line, atMs: nowMs });
    if (line !== before?.line) await write(`${line}\n`);
  };
  return {
    async show(images) {
      for (const image of images) await show(image);
    },
    clear: async () => {},
    end: async () => {},
  };
}
