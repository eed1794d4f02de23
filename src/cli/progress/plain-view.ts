// SPDX-License-Identifier: Apache-2.0
import type { ImageProgress } from "../../gen/podrt/v1/podrt_pb.ts";
import { shortId, size, timeLeft } from "../human.ts";
import { stateWords } from "./image-lines.ts";
import { measurePaces } from "./pace.ts";
import type { ProgressView } from "./view.ts";

/** Whoever waits for a long download hears this often that it goes on. */
const WORD_MS = 10_000;
const STEPS: ReadonlySet<string> = new Set(["present", "downloaded", "done"]);

/** A line for each step, for logs and pipes. */
export function plainView(write: (text: string) => Promise<void>): ProgressView {
  const paces = measurePaces();
  const told = new Set<string>();
  let spokeAtMs = performance.now();

  const tell = async (line: string) => {
    spokeAtMs = performance.now();
    await write(`${line}\n`);
  };
  const once = async (key: string, line: string) => {
    if (told.has(key)) return;
    told.add(key);
    await tell(line);
  };
  const show = async (image: ImageProgress) => {
    const nowMs = performance.now();
    paces.note(image, nowMs);
    const name = image.reference === "" ? "" : `${image.reference}: `;
    // Of a daemon that does not tell of layers, the step alone.
    if (image.layers.length === 0) {
      const step = image.phase || image.step;
      return await once(`${name}${step}`, `${name}${step}`);
    }
    const missing = image.layers.filter(({ state }) => state !== "present").length;
    const toFetch = image.totalBytes === 0n ? "" : `, ${size(image.totalBytes)} to fetch`;
    await once(
      `${name}layers`,
      `${name}${image.layers.length} layer${image.layers.length === 1 ? "" : "s"}, ${missing} new${toFetch}`,
    );
    for (const [position, layer] of image.layers.entries()) {
      if (!STEPS.has(layer.state)) continue;
      await once(
        `${name}${position} ${layer.state}`,
        `${name}layer ${shortId(layer.digest)}: ${stateWords(layer)}`,
      );
    }
    if (nowMs - spokeAtMs < WORD_MS) return;
    const { perSecond, secondsLeft } = paces.ofImage(image, nowMs);
    const rate = perSecond === undefined ? "" : `, ${size(Math.round(perSecond))}/s`;
    const left = secondsLeft === undefined || secondsLeft === 0 ? "" : `, ${timeLeft(secondsLeft)} left`;
    await tell(`${name}${size(image.doneBytes)} of ${size(image.totalBytes)}${rate}${left}`);
  };
  return {
    async show(images) {
      for (const image of images) await show(image);
    },
    clear: async () => {},
    end: async () => {},
  };
}
