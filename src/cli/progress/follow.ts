// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../../errors.ts";
import type { ImageProgress, ImageResult } from "../../gen/podrt/v1/podrt_pb.ts";
import { shortId } from "../human.ts";
import type { Io } from "../io.ts";
import { type ProgressFormat, progressView } from "./view.ts";

/** How often what is on a terminal is drawn anew while nothing comes, since a rate falls with time. */
const REDRAW_MS = 1000;

/** Shows how a pull or import goes, and prints at the end, on standard output, what was stored. */
export async function showProgress(
  io: Io,
  messages: AsyncIterable<ImageProgress>,
  format: ProgressFormat,
): Promise<number> {
  for (const { reference, id } of await followProgress(io, messages, format, io.out)) {
    const line =
      format === "json"
        ? JSON.stringify({ image: { id, reference } })
        : `${reference || "<none>"} ${shortId(id)}`;
    await io.out(`${line}\n`);
  }
  return 0;
}

/** Shows how it goes, as JSON by way of `json`, and answers what was stored. */
export async function followProgress(
  io: Io,
  messages: AsyncIterable<ImageProgress>,
  format: ProgressFormat,
  json: (text: string) => Promise<void> = io.err,
): Promise<readonly ImageResult[]> {
  const results: ImageResult[] = [];
  const view = progressView(io, format, json);
  let latest: ImageProgress[] = [];
  const redraw = setInterval(() => void view.show(latest).catch(() => {}), REDRAW_MS);
  try {
    for await (const message of messages) {
      if (message.image !== undefined) {
        results.push(message.image);
        continue;
      }
      latest = [message];
      await view.show(latest);
    }
  } finally {
    clearInterval(redraw);
    await view.end();
  }
  if (results.length === 0) throw new InternalError("the daemon did not say what it stored");
  return results;
}
