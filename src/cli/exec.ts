// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../errors.ts";
import { openDaemon } from "./client.ts";
import { interact, LEFT } from "./interact.ts";
import { takeInventory } from "./inventory.ts";
import type { Context } from "./program.ts";
import { requireRunning } from "./running-container.ts";
import { UsageError } from "./usage-error.ts";

interface Options {
  readonly stdin?: boolean;
  readonly tty?: boolean;
}

/** Answers the exit code of the command. */
export async function exec(
  { io, socketPath }: Context,
  name: string,
  words: readonly string[],
  options: Options,
): Promise<number> {
  const command = words[0] === "--" ? words.slice(1) : words;
  if (command.length === 0) throw new UsageError("name a command after the container, as in exec app -- ls");
  using daemon = openDaemon(socketPath);
  const container = await requireRunning(daemon, await takeInventory(daemon), name);
  const tty = options.tty ?? false;
  const terminal = tty ? io.terminal : undefined;
  if (tty && terminal === undefined && options.stdin) {
    await io.err("podrt: standard input is no terminal; the command gets one all the same\n");
  }
  const size = terminal?.size();
  const result = await interact({
    io,
    terminal,
    passStdin: options.stdin ?? false,
    canLeave: false,
    start: {
      containerId: container.id,
      command: [...command],
      tty,
      stdin: options.stdin ?? false,
      ...(size === undefined ? {} : { size }),
    },
    call: (requests, signal) => daemon.pods.exec(requests, { signal }),
  });
  if (result === LEFT) throw new InternalError("the session was left");
  return result;
}
