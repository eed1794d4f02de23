// SPDX-License-Identifier: Apache-2.0
import { Code, ConnectError } from "@connectrpc/connect";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { type Daemon, promptly } from "../client.ts";
import { containersOf, type PodEntry } from "../inventory.ts";
import type { Io } from "../io.ts";
import { type ProgressFormat, progressView } from "./view.ts";

/** Shows how the images of pods are pulled, which the daemon does on its own account. */
export interface PullWatch extends AsyncDisposable {
  /** What is written by way of this does not get among the lines that are drawn anew. */
  readonly io: Io;
  look(pods: readonly PodEntry[]): Promise<void>;
}

export function watchPulls(
  daemon: Daemon,
  io: Io,
  format: ProgressFormat,
  json: (text: string) => Promise<void>,
): PullWatch {
  const view = progressView(io, format, json);
  const beside = (write: Io["out"]): Io["out"] => {
    return async (text) => {
      await view.clear();
      await write(text);
    };
  };
  // Inherited, since looking at standard input makes the process wait for it.
  const own: Io = Object.create(io, { out: { value: beside(io.out) }, err: { value: beside(io.err) } });
  return {
    io: own,
    async look(pods) {
      const wanted = new Set(pods.flatMap(imagesPulledFor));
      const pulls = wanted.size === 0 ? [] : await pullsUnderWay(daemon);
      // Of an image that is up to date there is nothing to show.
      await view.show(pulls.filter(({ reference, layers }) => wanted.has(reference) && layers.length > 0));
    },
    [Symbol.asyncDispose]: () => view.end(),
  };
}

function imagesPulledFor({ kept }: PodEntry): string[] {
  const waiting = kept === undefined ? [] : containersOf(kept).filter(({ state }) => state === "waiting");
  return waiting.map(({ image }) => formatReference(parseReference(image)));
}

async function pullsUnderWay(daemon: Daemon) {
  try {
    return (await daemon.pods.listPulls({}, promptly())).pulls;
  } catch (error) {
    // A daemon that has not been updated yet pulls without a word.
    if (ConnectError.from(error).code === Code.Unimplemented) return [];
    throw error;
  }
}
