// SPDX-License-Identifier: Apache-2.0
import { NotFoundError } from "../errors.ts";
import { type Daemon, openDaemon, promptly } from "./client.ts";
import type { Io } from "./io.ts";
import type { Context } from "./program.ts";
import { followProgress, showProgress } from "./progress/follow.ts";
import { type ProgressFormat, progressFormat } from "./progress/view.ts";

export async function pull({ io, socketPath, output }: Context, reference: string): Promise<number> {
  using daemon = openDaemon(socketPath);
  const messages = daemon.pods.pull({ reference }, { signal: io.interrupted });
  return await showProgress(io, messages, progressFormat(output));
}

/** Sees to it that an image is present, as the option `--pull` says. */
export async function pullAsAsked(
  daemon: Daemon,
  io: Io,
  reference: string,
  when: "always" | "missing" | "never" = "missing",
  format: ProgressFormat = "text",
  json: (text: string) => Promise<void> = io.err,
): Promise<void> {
  const { image } = await daemon.images.imageStatus({ image: { image: reference } }, promptly());
  if (image !== undefined && when !== "always") return;
  if (when === "never") throw new NotFoundError(`image ${reference} is not present; pull it first`);
  await followProgress(io, daemon.pods.pull({ reference }, { signal: io.interrupted }), format, json);
}
