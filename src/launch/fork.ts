// SPDX-License-Identifier: Apache-2.0
import { AT_FDCWD, O_CLOEXEC } from "../linux/abi/fcntl.ts";
import {
  CLONE_INTO_CGROUP,
  CLONE_NEWCGROUP,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_PARENT,
  CLONE_VFORK,
} from "../linux/abi/sched.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { type CgroupPlace, joinCgroups, openJoinTargets } from "./child.ts";
import { MONITOR_FD } from "./monitor.ts";
import type { PassedFds } from "./passed-fds.ts";
import type { Block, Cell, Operand, Program, Table } from "./program.ts";
import { newSession } from "./session.ts";
import { unblockSignals } from "./signals.ts";

const CLONE_ARGS_BYTES = 88;
const EXIT_SIGNAL_OFFSET = 32;
const CGROUP_OFFSET = 80;

/** How the process of a launch comes into being. */
export interface Fork {
  readonly name: string;
  readonly tag: number;
  /** CLONE_NEW flags: the namespaces of its own. */
  readonly flags: number;
  readonly cgroup: CgroupPlace;
  /** A pidfd of a member of the pid namespace to join. */
  readonly pidNamespace: Operand | undefined;
  readonly join: Join | undefined;
  /** Appends what comes before: what needs the host's privilege and the host's files. */
  prepare(table: Table): void;
}

/** Namespaces to join, for setns(2). */
export interface Join {
  /** As in `the pod's namespaces`. */
  readonly what: string;
  /** A pidfd, or a namespace. */
  readonly of: Operand;
  /**
   * CLONE_NEW flags. CLONE_NEWUSER among them makes the process root of that user namespace, to which
   * its own namespaces then belong.
   */
  readonly flags: number;
}

/**
 * Appends the steps that make the process of a launch and write its start record. Answers the child's
 * table; when that begins, the child leads a session, is in its cgroup and has joined its namespaces.
 */
export function forkChild(program: Program, fork: Fork, passed: PassedFds): Table {
  const record = program.data(startRecord(fork.tag));
  const start: Start = {
    record,
    pid: program.part(record, 8),
    cgroupDirectory: fork.cgroup.directory && passed.add(fork.cgroup.directory),
  };
  const isInUserNamespace = ((fork.join?.flags ?? 0) & CLONE_NEWUSER) !== 0;
  return isInUserNamespace
    ? forkInUserNamespace(program.main, fork, start)
    : forkOnHost(program.main, fork, start);
}

/** The start record of a launch as it goes into the journal (pause/README.md); with a pid of 0 the kernel puts it in. */
export function startRecord(tag: number, pid = 0): Uint8Array {
  return new Uint8Array(new BigInt64Array([BigInt(tag), BigInt(pid), 0n, 0n, 0n]).buffer);
}

interface Start {
  readonly record: Block;
  /** Where in the record the kernel's answer goes: its second number. */
  readonly pid: Block;
  /** Number in the monitor of a cgroup2 directory that the child is born into. */
  readonly cgroupDirectory: number | undefined;
}

/**
 * Only a fork can join a pid namespace, so the monitor enters it for that fork alone. A clone3 that
 * fails then must not stop the program before the monitor has come back; its -errno lands in the
 * record, and a pid below 1 is no start: whoever asks the journal for the launch finds none.
 */
function forkOnHost(main: Table, fork: Fork, start: Start): Table {
  const args = cloneArgs(fork.flags, start.cgroupDirectory);
  const child =
    fork.pidNamespace === undefined
      ? main.fork("clone3", fork.name, args, { result: start.pid })
      : forkInto(main, fork.pidNamespace, fork.name, args, start.pid);
  writeStartRecord(main, start);
  lead(child, openJoinTargets(child, fork.cgroup.joinTargets));
  fork.prepare(child);
  if (fork.join !== undefined) join(child, fork.join, fork.join.flags);
  return child;
}

function forkInto(main: Table, pidNamespace: Operand, name: string, args: Uint8Array, pid: Block): Table {
  const own = main.answer("open the monitor's pid namespace", "openat", [
    AT_FDCWD,
    "/proc/self/ns/pid",
    O_CLOEXEC,
    0,
  ]);
  main.step("enter the pid namespace", "setns", [pidNamespace, CLONE_NEWPID]);
  const child = main.fork("clone3", name, args, { result: pid, tolerate: ["EAGAIN", "ENOMEM"] });
  main.step("leave the pid namespace", "setns", [own, CLONE_NEWPID]);
  main.step("close the pid namespace", "close", [own]);
  return child;
}

/**
 * Nobody leaves a user namespace, and what is made outside belongs to the host. So the monitor forks a
 * process that enters it, makes the child there as the monitor's own (CLONE_PARENT), writes the record
 * and ends. The monitor waits for it (CLONE_VFORK): the child must not be reaped before its record is
 * written. The process between them joins no cgroup, which might be frozen, and the monitor with it; it
 * opens the cgroups' files for the child, to which the host's paths mean nothing.
 */
function forkInUserNamespace(main: Table, fork: Fork, start: Start): Table {
  const between = main.fork("clone3", fork.name, cloneArgs(CLONE_VFORK, undefined));
  const joinTargets = openJoinTargets(between, fork.cgroup.joinTargets);
  fork.prepare(between);
  if (fork.pidNamespace !== undefined)
    between.step("enter the pid namespace", "setns", [fork.pidNamespace, CLONE_NEWPID]);
  const flags = fork.join?.flags ?? 0;
  if (fork.join !== undefined) join(between, fork.join, flags & ~CLONE_NEWCGROUP);
  const args = cloneArgs((fork.flags & CLONE_NEWPID) | CLONE_PARENT, start.cgroupDirectory);
  const child = between.fork("clone3", fork.name, args, { result: start.pid });
  writeStartRecord(between, start);
  between.step("leave the child to the monitor", "exit_group", [0]);
  lead(child, joinTargets);
  becomeRoot(child);
  // Made by that root, what is in them belongs to it; a pid namespace is entered by birth alone.
  const own = fork.flags & ~CLONE_NEWPID;
  if (own !== 0) child.step("make namespaces of its own", "unshare", [own]);
  // Entered from the child's cgroup: a namespace that does not hold one's cgroup refuses a move into it.
  if (fork.join !== undefined && (flags & CLONE_NEWCGROUP) !== 0) join(child, fork.join, CLONE_NEWCGROUP);
  return child;
}

function join(table: Table, { what, of }: Join, flags: number): void {
  table.step(`join ${what}`, "setns", [of, flags]);
}

/** The host's ids mean nothing inside; all capabilities in the namespace came with it. */
function becomeRoot(table: Table): void {
  table.step("leave the host's groups", "setgroups", [0, 0]);
  table.step("become the user namespace's group 0", "setresgid", [0, 0, 0]);
  table.step("become the user namespace's user 0", "setresuid", [0, 0, 0]);
}

function writeStartRecord(table: Table, { record }: Start): void {
  table.step("write the start record", "write", [MONITOR_FD.journal, record, record.bytes.length]);
}

function lead(child: Table, joinTargets: readonly Cell[]): void {
  unblockSignals(child);
  newSession(child);
  joinCgroups(child, joinTargets);
}

/**
 * struct clone_args of clone3(2) with flags, SIGCHLD as the exit signal, and the cgroup to be born into.
 * A child of the caller's parent (CLONE_PARENT) takes over the caller's exit signal.
 */
function cloneArgs(flags: number, cgroupDirectory: number | undefined): Uint8Array {
  const bytes = new Uint8Array(CLONE_ARGS_BYTES);
  const view = new DataView(bytes.buffer);
  const exitSignal = (flags & CLONE_PARENT) === 0 ? SIGNAL.SIGCHLD : 0;
  view.setBigUint64(0, BigInt(flags) | (cgroupDirectory === undefined ? 0n : CLONE_INTO_CGROUP), true);
  view.setBigUint64(CGROUP_OFFSET, BigInt(cgroupDirectory ?? 0), true);
  view.setBigUint64(EXIT_SIGNAL_OFFSET, BigInt(exitSignal), true);
  return bytes;
}
