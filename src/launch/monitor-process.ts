// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { InternalError } from "../errors.ts";
import {
  AT_EMPTY_PATH,
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
} from "../linux/abi/fcntl.ts";
import { CLONE_FILES } from "../linux/abi/sched.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { type Fd, open, pipe, sealedMemfd } from "../linux/fd.ts";
import { MONITOR_ELF } from "../linux/machine-code.ts";
import { identify, isAlive, type ProcessIdentity } from "../linux/process.ts";
import { trySyscall } from "../linux/syscall.ts";
import { bindUnix, unixDatagramSocket } from "../linux/unix-socket.ts";
import { spawnWithEngine } from "./engine.ts";
import { foreignMonitor } from "./foreign-monitor.ts";
import { lendLowFds } from "./low-fds.ts";
import { MONITOR_FD, type Monitor } from "./monitor.ts";
import { MonitorClient, socketPath } from "./monitor-client.ts";
import { reap } from "./monitor-end.ts";
import { newProgram } from "./program.ts";
import { foreignProtocol, isMonitorOf, monitorArguments, protocolOf } from "./protocol.ts";

let monitorBinary: Fd | undefined;

/** Starts the monitor of a pod whose run directory `dir` exists; `label` is what ps shows. */
export async function startMonitor(dir: string, label: string): Promise<Monitor> {
  monitorBinary ??= sealedMemfd("podrt-monitor", MONITOR_ELF);
  using directory = open(dir, O_PATH | O_DIRECTORY);
  using socket = unixDatagramSocket();
  bindUnix(socket.number, socketPath(directory));
  using journal = open(join(dir, "journal"), O_RDWR | O_APPEND | O_CREAT, 0o600);
  const doorbell = pipe(O_NONBLOCK);
  using listening = new DisposableStack();
  listening.use(doorbell.read);
  using ringing = doorbell.write;
  using lent = lendLowFds([socket, journal, ringing, monitorBinary]);
  const [ownSocket, ownJournal, ownDoorbell, executable] = lent.numbers as [number, number, number, number];
  const child = newProgram(`monitor of ${label}`);
  const program = child.main;
  lent.keepOnly(program);
  program.step("become a session leader", "setsid", []);
  for (const target of [0, 1, 2]) program.step("attach stdio", "dup3", [lent.nothing, target, 0]);
  program.step("close other descriptors", "close_range", [5, 0xffff_ffff, 4]);
  const sources = [
    [ownSocket, MONITOR_FD.socket],
    [ownJournal, MONITOR_FD.journal],
    [ownDoorbell, MONITOR_FD.doorbell],
  ] as const;
  for (const [source, target] of sources) program.step("place descriptors", "dup3", [source, target, 0]);
  program.step("execute the monitor", "execveat", [
    executable,
    "",
    child.stringArray(monitorArguments(label)),
    child.stringArray([]),
    AT_EMPTY_PATH,
  ]);
  const pid = spawnWithEngine(child, CLONE_FILES | SIGNAL.SIGCHLD);
  try {
    const identity = identify(pid);
    if (identity === undefined)
      throw new InternalError(`monitor of ${label} ended as soon as it was started`);
    const client = new MonitorClient(dir, identity);
    listening.move();
    client.listen(doorbell.read);
    return client;
  } catch (error) {
    // Nobody else knows of it yet; as a child that is not waited for it keeps its pid.
    trySyscall("kill", pid, SIGNAL.SIGKILL);
    await reap(pid);
    throw error;
  }
}

/**
 * Takes up the monitor that an earlier daemon started, of this version or another; undefined when it is gone. One
 * whose protocol this podrt does not speak has a `refusal`.
 */
export async function adoptMonitor(dir: string, identity: ProcessIdentity): Promise<Monitor | undefined> {
  if (!isAlive(identity)) return undefined;
  const refusal = foreignProtocol(protocolOf(identity.pid));
  return refusal === undefined ? connect(dir, identity) : foreignMonitor(identity, refusal);
}

/**
 * The monitor that was started with `label`, looked for among the machine's processes: a daemon may
 * have died between its start and the record of its pid. Only in this mount namespace, since a process of a
 * container may call itself what it likes.
 */
export function findMonitor(label: string): ProcessIdentity | undefined {
  const ownMounts = readlinkSync("/proc/self/ns/mnt");
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!isMonitorOf(label, readFileSync(`/proc/${name}/cmdline`, "latin1"))) continue;
      if (readlinkSync(`/proc/${name}/ns/mnt`) === ownMounts) return identify(Number(name));
    } catch {
      // The process has ended since the directory was read.
    }
  }
  return undefined;
}

async function connect(dir: string, identity: ProcessIdentity): Promise<Monitor> {
  const client = new MonitorClient(dir, identity);
  try {
    await client.installDoorbell();
    return client;
  } catch (error) {
    client.disconnect();
    throw error;
  }
}
