// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../errors.ts";
import type { ImageProgress, ImageResult } from "../gen/podrt/v1/podrt_pb.ts";
import { shortId, size } from "./human.ts";
import type { Io } from "./io.ts";

/**
 * Shows how a pull or import goes, on one line of a terminal or a line for each step elsewhere, and
 * prints at the end, on standard output, what was stored.
 */
export async function showProgress(io: Io, messages: AsyncIterable<ImageProgress>): Promise<number> {
  for (const { reference, id } of await followProgress(io, messages)) {
    await io.out(`${reference || "<none>"} ${shortId(id)}\n`);
  }
  return 0;
}

/** Shows how it goes as `showProgress` does, and answers what was stored. */
export async function followProgress(
  io: Io,
  messages: AsyncIterable<ImageProgress>,
): Promise<readonly ImageResult[]> {
  const results: ImageResult[] = [];
  let shown = "";
  const clear = async () => {
    if (io.isTerminal && shown !== "") await io.err("\r\u001b[K");
  };
  try {
    for await (const message of messages) {
      if (message.image !== undefined) {
        results.push(message.image);
        continue;
      }
      const line = io.isTerminal ? lineOf(message) : message.step;
      if (line === shown) continue;
      await clear();
      await io.err(io.isTerminal ? line : `${line}\n`);
      shown = line;
    }
  } finally {
    await clear();
  }
  if (results.length === 0) throw new InternalError("the daemon did not say what it stored");
  return results;
}

function lineOf({ step, doneBytes, totalBytes }: ImageProgress): string {
  if (totalBytes === 0n) return doneBytes === 0n ? step : `${step} ${size(doneBytes)}`;
  return `${step} ${size(doneBytes)}/${size(totalBytes)}`;
}
