// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { openDaemon } from "./client.ts";
import type { Context } from "./program.ts";
import { showProgress } from "./progress.ts";

/** The daemon reads the path itself, so it must be on its machine. */
export async function importImage(
  { io, socketPath }: Context,
  path: string,
  { name }: { readonly name?: string },
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const request = { path: resolve(path), name: name ?? "" };
  return await showProgress(io, daemon.pods.import(request, { signal: io.interrupted }));
}
