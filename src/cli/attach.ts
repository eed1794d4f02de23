// SPDX-License-Identifier: Apache-2.0
import { type Daemon, openDaemon, promptly } from "./client.ts";
import { interact, LEFT } from "./interact.ts";
import { takeInventory } from "./inventory.ts";
import type { Io } from "./io.ts";
import type { Context } from "./program.ts";
import { requireRunning } from "./running-container.ts";

/** Answers the exit code of the container, or 0 when it was left with Ctrl-P Ctrl-Q. */
export async function attach({ io, socketPath }: Context, name: string): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { id } = await requireRunning(daemon, await takeInventory(daemon), name);
  return (await attachTo(daemon, io, id)) ?? 0;
}

/** Joins a container with this process's streams; its exit code, undefined when it was left with Ctrl-P Ctrl-Q. */
export async function attachTo(daemon: Daemon, io: Io, containerId: string): Promise<number | undefined> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true }, promptly());
  const { config } = JSON.parse(info["info"] ?? "{}") as { config?: { tty?: boolean; stdin?: boolean } };
  const terminal = config?.tty ? io.terminal : undefined;
  const size = terminal?.size();
  const result = await interact({
    io,
    terminal,
    passStdin: config?.stdin ?? false,
    canLeave: terminal !== undefined,
    start: { containerId, ...(size === undefined ? {} : { size }) },
    call: (requests, signal) => daemon.pods.attach(requests, { signal }),
  });
  return result === LEFT ? undefined : result;
}
