// SPDX-License-Identifier: Apache-2.0
import type { ImageProgress, LayerProgress } from "../../gen/podrt/v1/podrt_pb.ts";
import { type RateMeter, rateMeter, secondsLeft } from "./rate.ts";

/** How fast something comes, and when it will have come. */
export interface Pace {
  readonly perSecond: number | undefined;
  readonly secondsLeft: number | undefined;
}

export interface Paces {
  /** Takes note of what has come of an image and its layers. */
  note(image: ImageProgress, nowMs: number): void;
  ofImage(image: ImageProgress, nowMs: number): Pace;
  ofLayer(image: ImageProgress, layer: LayerProgress, nowMs: number): Pace;
}

export function measurePaces(): Paces {
  const meters = new Map<string, RateMeter>();
  const meterOf = (key: string) => {
    const meter = meters.get(key) ?? rateMeter();
    meters.set(key, meter);
    return meter;
  };
  const keyOf = ({ reference }: ImageProgress, digest = "") => `${reference} ${digest}`;
  const pace = (key: string, doneBytes: bigint, totalBytes: bigint, nowMs: number): Pace => {
    const perSecond = meters.get(key)?.perSecond(nowMs);
    return { perSecond, secondsLeft: secondsLeft(Number(totalBytes - doneBytes), perSecond) };
  };
  return {
    note(image, nowMs) {
      const isDownloading = image.layers.some(({ state }) => state === "downloading");
      if (!isDownloading) return;
      let keptBytes = 0n;
      for (const { digest, state, doneBytes, keptBytes: kept } of image.layers) {
        keptBytes += kept;
        if (state === "downloading") meterOf(keyOf(image, digest)).note(Number(doneBytes - kept), nowMs);
      }
      // What was there already did not come fast.
      meterOf(keyOf(image)).note(Number(image.doneBytes - keptBytes), nowMs);
    },
    ofImage: (image, nowMs) => pace(keyOf(image), image.doneBytes, image.totalBytes, nowMs),
    ofLayer: (image, { digest, doneBytes, totalBytes }, nowMs) =>
      pace(keyOf(image, digest), doneBytes, totalBytes, nowMs),
  };
}
