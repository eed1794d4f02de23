// SPDX-License-Identifier: Apache-2.0
import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../linux/abi/fcntl.ts";
import { CLONE_INTO_CGROUP, CLONE_NEWPID } from "../linux/abi/sched.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Cgroup } from "../linux/cgroup/cgroup.ts";
import type { Fd } from "../linux/fd.ts";
import { assumeIdentity, type Identity } from "./identity.ts";
import { MONITOR_FD } from "./monitor.ts";
import type { PassedFds } from "./passed-fds.ts";
import type { Block, Operand, Program, Table } from "./program.ts";
import { openPath } from "./rootfs.ts";

const CLONE_ARGS_BYTES = 88;
const EXIT_SIGNAL_OFFSET = 32;
const CGROUP_OFFSET = 80;
const SIG_SETMASK = 2;
const SIGNAL_SET_BYTES = 8;
const CLOSE_RANGE_CLOEXEC = 4;
const LAST_FD = 0xffff_ffff;

/**
 * Appends clone3 with `flags` and the start record of the launch `tag`; answers the child's table.
 *
 * A pid namespace to be joined is given as `pidNamespace`, a pidfd of a member: only a fork can join
 * one, so the monitor enters it for that fork alone. A clone3 that fails then must not stop the
 * program before the monitor has come back; its -errno lands in the record, which is how
 * `launch/start.ts` learns of it.
 */
export function forkChild(
  program: Program,
  options: {
    name: string;
    flags: number;
    tag: number;
    pidNamespace: Operand | undefined;
    /** Number in the monitor of a cgroup2 directory that the child is born into. */
    cgroupDirectory: number | undefined;
  },
): Table {
  const { main } = program;
  const record = program.data(
    new Uint8Array(new BigInt64Array([BigInt(options.tag), 0n, 0n, 0n, 0n]).buffer),
  );
  const pid = program.part(record, 8);
  const args = cloneArgs(options.flags, options.cgroupDirectory);
  const child =
    options.pidNamespace === undefined
      ? main.fork("clone3", options.name, args, { result: pid })
      : forkInto(main, options.pidNamespace, options.name, args, pid);
  main.step("write the start record", "write", [MONITOR_FD.journal, record, record.bytes.length]);
  child.step("unblock signals", "rt_sigprocmask", [
    SIG_SETMASK,
    new Uint8Array(SIGNAL_SET_BYTES),
    0,
    SIGNAL_SET_BYTES,
  ]);
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

/** struct clone_args of clone3(2) with flags, SIGCHLD as the exit signal, and the cgroup to be born into. */
function cloneArgs(flags: number, cgroupDirectory: number | undefined): Uint8Array {
  const bytes = new Uint8Array(CLONE_ARGS_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(flags) | (cgroupDirectory === undefined ? 0n : CLONE_INTO_CGROUP), true);
  view.setBigUint64(CGROUP_OFFSET, BigInt(cgroupDirectory ?? 0), true);
  view.setBigUint64(EXIT_SIGNAL_OFFSET, BigInt(SIGNAL.SIGCHLD), true);
  return bytes;
}

/** The cgroup of a process to be: files to write `0` to, and the cgroup2 directory it is cloned into. */
export interface CgroupPlace {
  readonly joinTargets: readonly Fd[];
  readonly directory: Fd | undefined;
}

/** Opens what a launch into `cgroup` needs; `passed` closes it. */
export function placeIn(cgroup: Cgroup, passed: PassedFds): CgroupPlace {
  const joinTargets = cgroup.joinTargets().map(passed.own);
  const directory = cgroup.directoryFd();
  return { joinTargets, directory: directory && passed.own(directory) };
}

/** Appends the writes that put the child in the cgroups whose files `targets` are open for writing. */
export function joinCgroups(table: Table, targets: readonly Fd[], passed: PassedFds): void {
  for (const target of targets) table.step("join the cgroup", "write", [passed.add(target), "0", 1]);
}

/** Appends the write of oom_score_adj; below the daemon's own the kernel refuses, and that one stays. */
export function setOomScore(table: Table, score: number): void {
  const text = String(score);
  const file = table.answer("open oom_score_adj", "openat", [
    AT_FDCWD,
    "/proc/self/oom_score_adj",
    O_WRONLY | O_CLOEXEC,
    0,
  ]);
  table.step(`set oom_score_adj to ${score}`, "write", [file, text, text.length], { tolerate: ["EACCES"] });
}

/** Appends stdin, stdout and stderr from descriptors of the monitor's. */
export function attachStdio(table: Table, stdin: Operand, stdout: Operand, stderr: Operand): void {
  [stdin, stdout, stderr].forEach((source, target) => {
    table.step(`attach descriptor ${target}`, "dup3", [source, target, 0]);
  });
}

/**
 * Appends the closing of everything but stdio and the reply pipe, which closes itself at execve: no
 * descriptor of the host's is there when names that an image chose are resolved, nor afterwards.
 */
function closeDescriptors(table: Table): void {
  const reply = MONITOR_FD.request + 1;
  table.step("close descriptors below the reply pipe", "close_range", [3, reply - 1, 0]);
  table.step("close descriptors above the reply pipe", "close_range", [reply + 1, LAST_FD, 0]);
  table.step("close the reply pipe at execve", "close_range", [reply, reply, CLOSE_RANGE_CLOEXEC]);
}

/** What a launched process is at its end: where it stands, who it is, what it executes. */
export interface Application {
  readonly cwd: string;
  readonly identity: Identity;
  readonly existingCapabilities: ReadonlySet<CapabilityName>;
  readonly command: readonly string[];
  readonly environment: readonly string[];
}

/**
 * Appends the last steps of a launch: no descriptor is left that a working directory could lead
 * through, privilege goes, and the application is executed.
 */
export function becomeApplication(program: Program, table: Table, application: Application): void {
  const { cwd } = application;
  closeDescriptors(table);
  const directory = openPath(table, cwd, `open the working directory ${cwd}`);
  table.step(`enter the working directory ${cwd}`, "fchdir", [directory]);
  table.step("close the working directory", "close", [directory]);
  table.step("set the umask", "umask", [0o022]);
  assumeIdentity(program, table, application.identity, application.existingCapabilities);
  executeInPath(program, table, application.command, application.environment);
}

/** Appends the search for `command` along `path` (the value of PATH), as execvp(3) does it. */
function executeInPath(
  program: Program,
  table: Table,
  command: readonly string[],
  environment: readonly string[],
): void {
  const [file = ""] = command;
  const argv = program.stringArray(command);
  const envp = program.stringArray(environment);
  const candidates = file.includes("/")
    ? [file]
    : searchPath(environment).map((directory) => `${directory}/${file}`);
  // Two rounds, since an entry lets at most two errors pass: the first goes past what is not there and
  // what this user may not look into, the second ends at the error that execvp(3) would report.
  if (candidates.length > 1) {
    for (const candidate of candidates) {
      table.step(`execute ${candidate}`, "execve", [candidate, argv, envp], {
        tolerate: ["ENOENT", "EACCES"],
      });
    }
  }
  candidates.forEach((candidate, index) => {
    const isLast = index === candidates.length - 1;
    const name =
      file.includes("/") || !isLast ? `execute ${candidate}` : `execute ${file} (looked for in PATH)`;
    table.step(name, "execve", [candidate, argv, envp], isLast ? {} : { tolerate: ["ENOENT", "ENOTDIR"] });
  });
}

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_PATH_ENTRIES = 64;

function searchPath(environment: readonly string[]): string[] {
  const variable = environment.findLast((entry) => entry.startsWith("PATH="));
  const directories = (variable?.slice("PATH=".length) ?? DEFAULT_PATH).split(":").slice(0, MAX_PATH_ENTRIES);
  return directories.map((directory) => (directory === "" ? "." : directory.replace(/\/+$/, "")));
}
