// SPDX-License-Identifier: Apache-2.0
import { ERASE_BELOW, ERASE_LINE, lineStart, USUAL_SIZE } from "../control-sequences.ts";
import type { Screen } from "../io.ts";
import { imageLines } from "./image-lines.ts";
import { measurePaces } from "./pace.ts";
import type { ProgressView } from "./view.ts";

/** Faster is only flicker. */
const INTERVAL_MS = 80;

/** Lines at the cursor, drawn over what they were before. Each draw is one write, so that nothing comes between. */
export function liveView(screen: Pick<Screen, "size">, write: (text: string) => Promise<void>): ProgressView {
  const paces = measurePaces();
  let shown: readonly string[] = [];
  let drawnAtMs = Number.NEGATIVE_INFINITY;

  /** To the beginning of the first line that is shown; the terminal may have become narrower since. */
  const home = (width: number) => {
    const rows = shown.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / width)), 0);
    return lineStart(rows - 1);
  };
  const draw = async (lines: readonly string[], width: number) => {
    if (lines.length === 0 && shown.length === 0) return;
    const text = `${home(width)}${lines.map((line) => `${line}${ERASE_LINE}`).join("\r\n")}${ERASE_BELOW}`;
    shown = lines;
    await write(text);
  };
  const clear = () => draw([], (screen.size() ?? USUAL_SIZE).width);
  return {
    async show(images) {
      const nowMs = performance.now();
      for (const image of images) paces.note(image, nowMs);
      if (images.length > 0 && nowMs - drawnAtMs < INTERVAL_MS) return;
      drawnAtMs = nowMs;
      const { width, height } = screen.size() ?? USUAL_SIZE;
      // The screen must not scroll, or the lines above are out of reach.
      let rows = Math.max(1, height - 1);
      const lines: string[] = [];
      for (const [position, image] of images.entries()) {
        if (rows === 0) break;
        const share = Math.max(1, Math.floor(rows / (images.length - position)));
        const added = imageLines(image, paces, nowMs, { width, rows: share });
        rows -= added.length;
        lines.push(...added);
      }
      await draw(lines, width);
    },
    clear,
    end: clear,
  };
}
