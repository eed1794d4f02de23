// SPDX-License-Identifier: Apache-2.0

import { join } from "node:path";
import type { LaunchStdio } from "../launch/container-program.ts";
import { returnHeldProgram } from "../launch/container-program.ts";
import type { Monitor } from "../launch/monitor.ts";
import { F_SETFL, O_NONBLOCK, O_RDWR } from "../linux/abi/fcntl.ts";
import { type Fd, open, pipe, setNonBlocking } from "../linux/fd.ts";
import { bytesIn, newStage } from "../linux/pipe.ts";
import { newTerminalFilesystem, type TerminalOwner } from "../linux/pty.ts";
import { syscall } from "../linux/syscall.ts";
import { receiveFds, unixDatagramPair } from "../linux/unix-socket.ts";
import { podDir } from "../paths.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { undoOpenBatch } from "./batch-marker.ts";
import type { LiveContainer } from "./live.ts";
import { ContainerLog } from "./log.ts";
import type { OutputSource } from "./output-source.ts";
import type { Runtime } from "./runtime.ts";

/*
 * A container's stdio has three parties: the container, the daemon, and the monitor, which keeps a
 * duplicate of each of the daemon's ends. While the daemon is away, what the container writes stays
 * in the pipe, and nobody sees an end of file. The held descriptors have fixed places:
 *
 *   pipes      held + 0 stdout, + 1 stderr (read ends), + 2 and + 3 their stages (read ends), + 4 stdin
 *              (write end; only with stdin)
 *   terminal   held + 0 the master, + 1 its stage (read end)
 */

/** Held descriptors of one container have this many numbers to themselves. */
export const HELD_FDS = 8;
/** Where the write end of stdin is among them. */
export const HELD_STDIN = 4;

export interface StdioRequest {
  readonly tty: boolean;
  readonly stdin: boolean;
}

interface Output {
  readonly stream: "stdout" | "stderr";
  readonly fd: Fd;
  /** Read end of the pipe in which its output waits; container/output-source.ts. */
  readonly stage: Fd;
}

type Pipe = ReturnType<typeof pipe>;

/** The ends that the daemon itself works with. */
interface DaemonEnds {
  readonly outputs: readonly Output[];
  readonly stdin: Fd | undefined;
  readonly terminal: Fd | undefined;
}

/** How many descriptors the monitor holds for such a container. */
export function heldCount(request: StdioRequest): number {
  if (request.tty) return 2;
  return request.stdin ? 5 : 4;
}

/** Makes the pipes or the terminal of a new container. */
export function newStdio(
  request: StdioRequest,
  heldFd: number,
  owner: TerminalOwner,
): { launch: LaunchStdio; daemon: DaemonEnds } {
  if (request.tty) return newTerminalStdio(request, heldFd, owner);
  using opened = new DisposableStack();
  const { stdin, stdout, stderr } = openStdioPipes(request.stdin, owner, opened);
  const input = stdin?.read ?? opened.use(open("/dev/null", O_RDWR));
  const stages = [opened.use(stageEnd()), opened.use(stageEnd())] as const;
  const holding = [stdout.read, stderr.read, ...stages, ...(stdin === undefined ? [] : [stdin.write])];
  const held = holding.map((fd) => opened.use(fd.duplicate()));
  opened.move();
  return {
    launch: {
      terminal: false,
      child: [input, stdout.write, stderr.write],
      held,
      heldFd,
      devpts: undefined,
    },
    daemon: {
      outputs: [
        { stream: "stdout", fd: stdout.read, stage: stages[0] },
        { stream: "stderr", fd: stderr.read, stage: stages[1] },
      ],
      stdin: stdin?.write,
      terminal: undefined,
    },
  };
}

/** The pipes of a process without a terminal, which `opened` closes until it is moved; the daemon's ends never block. */
export function openStdioPipes(
  hasStdin: boolean,
  { uid }: TerminalOwner,
  opened: DisposableStack,
): { stdin: Pipe | undefined; stdout: Pipe; stderr: Pipe } {
  const openPipe = (): Pipe => {
    const ends = pipe();
    opened.use(ends.read);
    opened.use(ends.write);
    // A program may open /dev/stdout, which is the pipe once more: a user who is not root has to own it.
    const GROUP_AS_IT_IS = 0xffff_ffff;
    if (uid !== 0) syscall("fchown", ends.write.number, uid, GROUP_AS_IT_IS);
    return ends;
  };
  const stdout = openPipe();
  const stderr = openPipe();
  const stdin = hasStdin ? openPipe() : undefined;
  // The first flags that these ends have.
  for (const fd of [stdout.read, stderr.read, stdin?.write])
    if (fd !== undefined) syscall("fcntl", fd.number, F_SETFL, O_NONBLOCK);
  return { stdin, stdout, stderr };
}

function newTerminalStdio(
  request: StdioRequest,
  heldFd: number,
  owner: TerminalOwner,
): { launch: LaunchStdio; daemon: DaemonEnds } {
  using opened = new DisposableStack();
  const { master, slave, devpts } = newTerminalFilesystem(owner);
  for (const fd of [master, slave, devpts]) opened.use(fd);
  const stage = opened.use(stageEnd());
  const copy = (fd: Fd) => opened.use(fd.duplicate());
  const launch: LaunchStdio = {
    terminal: true,
    child: [slave, copy(slave), copy(slave)],
    held: [copy(master), copy(stage)],
    heldFd,
    devpts,
  };
  const daemon = terminalEnds(master, stage, request);
  opened.move();
  return { launch, daemon };
}

/** The stdio of a container whose terminal somebody else has made: its master, which is taken over. */
export function adoptTerminal(
  master: Fd,
  request: StdioRequest,
  heldFd: number,
): { launch: Pick<LaunchStdio, "held" | "heldFd">; daemon: DaemonEnds } {
  setNonBlocking(master.number, true);
  const stage = stageEnd();
  return {
    launch: { held: [master.duplicate(), stage.duplicate()], heldFd },
    daemon: terminalEnds(master, stage, request),
  };
}

/** The write end is opened again by whoever fills the stage. */
function stageEnd(): Fd {
  const { read, write } = newStage();
  write.close();
  return read;
}

function terminalEnds(master: Fd, stage: Fd, request: StdioRequest): DaemonEnds {
  return {
    outputs: [{ stream: "stdout", fd: master, stage }],
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
  const [first, second, third, fourth, fifth] = receiveFds(receiving.number, count);
  if (first === undefined || second === undefined)
    throw new Error(`the monitor handed back no stdio of ${label}`);
  if (request.tty) return terminalEnds(first, second, request);
  if (third === undefined || fourth === undefined)
    throw new Error(`the monitor handed back no stages of ${label}`);
  return {
    outputs: [
      { stream: "stdout", fd: first, stage: third },
      { stream: "stderr", fd: second, stage: fourth },
    ],
    stdin: fifth,
    terminal: undefined,
  };
}

/** Where a container's log is, and where batches of it are noted. */
export interface LogPlace {
  readonly logPath: string;
  readonly markerPath: string;
}

export function logPlace(runtime: Runtime, record: ContainerRecord): LogPlace {
  return {
    logPath: record.logPath,
    markerPath: join(podDir(runtime.paths, record.sandboxId), `${record.id}.batch`),
  };
}

/** Starts moving the container's output into its log, after what an earlier daemon may have left unfinished. */
export function startPumps(live: LiveContainer, ends: DaemonEnds, place: LogPlace, tty: boolean): void {
  live.stdin = ends.stdin;
  live.terminal = ends.terminal;
  live.outputs = ends.outputs.flatMap(({ fd, stage }) => [fd, stage]);
  undoOpenBatch(place.markerPath, place.logPath, (index) => {
    const output = ends.outputs[index];
    return output === undefined ? -1 : bytesIn(output.stage.number);
  });
  const log = new ContainerLog(place.logPath, { tty, markerPath: place.markerPath });
  live.log = log;
  const sources: OutputSource[] = [];
  // Before the first is attached: if the second cannot be, nobody goes on with a descriptor that is closed.
  live.cancelPumps = () => {
    for (const source of sources) source.cancel();
  };
  for (const { stream, fd, stage } of ends.outputs) {
    sources.push(log.attach(stream, fd.number, stage.number));
  }
  live.drained = Promise.allSettled(sources.map(({ done }) => done)).then(() => {
    for (const fd of live.outputs.splice(0)) fd.close();
  });
}
