// SPDX-License-Identifier: Apache-2.0

import type { LaunchStdio } from "../launch/container-program.ts";
import { returnHeldProgram } from "../launch/container-program.ts";
import type { Monitor } from "../launch/monitor.ts";
import { O_RDWR } from "../linux/abi/fcntl.ts";
import { type Fd, open, pipe, setNonBlocking } from "../linux/fd.ts";
import { newTerminalFilesystem } from "../linux/pty.ts";
import { receiveFds, unixDatagramPair } from "../linux/unix-socket.ts";
import type { LiveContainer } from "./live.ts";
import { openContainerLog } from "./log.ts";

/*
 * A container's stdio has three parties: the container, the daemon, and the monitor, which keeps a
 * duplicate of each of the daemon's ends. While the daemon is away, what the container writes stays
 * in the pipe, and nobody sees an end of file. The held descriptors have fixed places:
 *
 *   pipes      held + 0 stdout, + 1 stderr (read ends), + 2 stdin (write end; only with stdin)
 *   terminal   held + 0 the master
 */

/** Held descriptors of one container have this many numbers to themselves. */
export const HELD_FDS = 4;

export interface StdioRequest {
  readonly tty: boolean;
  readonly stdin: boolean;
}

/** The ends that the daemon itself works with. */
interface DaemonEnds {
  readonly outputs: readonly { readonly stream: "stdout" | "stderr"; readonly fd: Fd }[];
  readonly stdin: Fd | undefined;
  readonly terminal: Fd | undefined;
}

/** How many descriptors the monitor holds for such a container. */
export function heldCount(request: StdioRequest): number {
  if (request.tty) return 1;
  return request.stdin ? 3 : 2;
}

/** Makes the pipes or the terminal of a new container. */
export function newStdio(request: StdioRequest, heldFd: number): { launch: LaunchStdio; daemon: DaemonEnds } {
  if (request.tty) return newTerminalStdio(request, heldFd);
  const stdout = pipe();
  const stderr = pipe();
  for (const { read } of [stdout, stderr]) setNonBlocking(read.number, true);
  const stdin = request.stdin ? pipe() : undefined;
  if (stdin !== undefined) setNonBlocking(stdin.write.number, true);
  const held = [stdout.read, stderr.read, ...(stdin === undefined ? [] : [stdin.write])];
  return {
    launch: {
      terminal: false,
      child: [stdin?.read ?? open("/dev/null", O_RDWR), stdout.write, stderr.write],
      held: held.map((fd) => fd.duplicate()),
      heldFd,
      devpts: undefined,
    },
    daemon: {
      outputs: [
        { stream: "stdout", fd: stdout.read },
        { stream: "stderr", fd: stderr.read },
      ],
      stdin: stdin?.write,
      terminal: undefined,
    },
  };
}

function newTerminalStdio(
  request: StdioRequest,
  heldFd: number,
): { launch: LaunchStdio; daemon: DaemonEnds } {
  const { master, slave, devpts } = newTerminalFilesystem();
  return {
    launch: {
      terminal: true,
      child: [slave, slave.duplicate(), slave.duplicate()],
      held: [master.duplicate()],
      heldFd,
      devpts,
    },
    daemon: terminalEnds(master, request),
  };
}

function terminalEnds(master: Fd, request: StdioRequest): DaemonEnds {
  return {
    outputs: [{ stream: "stdout", fd: master }],
    stdin: request.stdin ? master.duplicate() : undefined,
    terminal: master.duplicate(),
  };
}

/** Asks the monitor for duplicates of the descriptors that it holds for a container. */
export async function takeBackStdio(
  monitor: Monitor,
  label: string,
  request: StdioRequest,
  heldFd: number,
): Promise<DaemonEnds> {
  const count = heldCount(request);
  const [ours, theirs] = unixDatagramPair();
  using receiving = ours;
  using sending = theirs;
  await monitor.launch(returnHeldProgram(label, heldFd, count), [sending]);
  const [first, second, third] = receiveFds(receiving.number, count);
  if (first === undefined) throw new Error(`the monitor handed back no stdio of ${label}`);
  if (request.tty) return terminalEnds(first, request);
  return {
    outputs: [
      { stream: "stdout", fd: first },
      ...(second === undefined ? [] : [{ stream: "stderr" as const, fd: second }]),
    ],
    stdin: third,
    terminal: undefined,
  };
}

/** Starts reading the container's output into its log. */
export function startPumps(live: LiveContainer, ends: DaemonEnds, logPath: string, tty: boolean): void {
  live.log ??= openContainerLog(logPath, { tty });
  const log = live.log;
  live.stdin = ends.stdin;
  live.terminal = ends.terminal;
  live.outputs = ends.outputs.map(({ fd }) => fd);
  const sources = ends.outputs.map(({ stream, fd }) => log.attach(stream, fd.number));
  live.drained = Promise.allSettled(sources.map(({ done }) => done)).then(() => {
    for (const fd of live.outputs.splice(0)) fd.close();
  });
  live.cancelPumps = () => {
    for (const source of sources) source.cancel();
  };
}
