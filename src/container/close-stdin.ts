// SPDX-License-Identifier: Apache-2.0
import { releaseHeldProgram } from "../launch/container-program.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { Runtime } from "./runtime.ts";
import { HELD_STDIN } from "./stdio.ts";

/** Lets a container read the end of its stdin: every write end is closed, the monitor's too. */
export async function closeStdin(runtime: Runtime, record: ContainerRecord): Promise<void> {
  const live = runtime.live.get(record.id);
  live?.stdin?.close();
  if (live !== undefined) live.stdin = undefined;
  const monitor = runtime.monitors.get(record.sandboxId);
  const program = releaseHeldProgram(`container ${record.name}`, record.heldFd + HELD_STDIN, 1);
  await monitor?.launch(program, []);
}
