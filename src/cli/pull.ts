// SPDX-License-Identifier: Apache-2.0
import { openDaemon } from "./client.ts";
import type { Context } from "./program.ts";
import { showProgress } from "./progress.ts";

export async function pull({ io, socketPath }: Context, reference: string): Promise<number> {
  using daemon = openDaemon(socketPath);
  return await showProgress(io, daemon.pods.pull({ reference }, { signal: io.interrupted }));
}
