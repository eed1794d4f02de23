// SPDX-License-Identifier: Apache-2.0
import { releaseHeldProgram } from "../launch/container-program.ts";
import { type Runtime, updateContainer } from "./runtime.ts";
import { HELD_STDIN } from "./stdio.ts";

/**
 * Lets a container read the end of its stdin: every write end is closed, the monitor's too. It is recorded
 * first, so that a daemon that comes later finishes it and asks for no descriptor that is not there.
 */
export async function closeStdin(runtime: Runtime, id: string): Promise<void> {
  const record = runtime.containers.get(id);
  if (record === undefined) return;
  updateContainer(runtime, record, { stdinClosed: true });
  const live = runtime.live.get(id);
  live?.stdin?.close();
  if (live !== undefined) live.stdin = undefined;
  const monitor = runtime.monitors.get(record.sandboxId);
  const program = releaseHeldProgram(`container ${record.name}`, record.heldFd + HELD_STDIN, 1);
  await monitor?.launch(program, []);
}
