// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { openDaemon } from "./client.ts";
import type { Context } from "./program.ts";
import { showProgress } from "./progress/follow.ts";
import { progressFormat } from "./progress/view.ts";

/** The daemon reads the path itself, so it must be on its machine. */
export async function importImage(
  { io, socketPath, output }: Context,
  path: string,
  { name }: { readonly name?: string },
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const request = { path: resolve(path), name: name ?? "" };
  const messages = daemon.pods.import(request, { signal: io.interrupted });
  return await showProgress(io, messages, progressFormat(output));
}
