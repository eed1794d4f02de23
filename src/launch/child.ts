// SPDX-License-Identifier: Apache-2.0
import { DEFAULT_PATH } from "../lib/executable.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDWR, O_WRONLY } from "../linux/abi/fcntl.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Cgroup } from "../linux/cgroup/cgroup.ts";
import type { Fd } from "../linux/fd.ts";
import { assumeIdentity, type Identity } from "./identity.ts";
import { MONITOR_FD } from "./monitor.ts";
import type { PassedFds } from "./passed-fds.ts";
import type { Cell, Operand, Program, Table } from "./program.ts";
import { openPath } from "./rootfs.ts";

const CLOSE_RANGE_CLOEXEC = 4;
const LAST_FD = 0xffff_ffff;

/** The cgroup of a process to be: paths of v1 files to write `0` to, and the cgroup2 directory it is cloned into. */
export interface CgroupPlace {
  readonly joinTargets: readonly string[];
  readonly directory: Fd | undefined;
}

/** Opens what a launch into `cgroup` needs; `passed` closes it. */
export function placeIn(cgroup: Cgroup, passed: PassedFds): CgroupPlace {
  const directory = cgroup.directoryFd();
  return { joinTargets: cgroup.joinTargets(), directory: directory && passed.own(directory) };
}

/** Appends the opening of the files of cgroups that are to be joined, while their paths are the host's. */
export function openJoinTargets(table: Table, targets: readonly string[]): readonly Cell[] {
  return targets.map((path) =>
    table.answer(`open ${path}`, "openat", [AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0]),
  );
}

/** Appends the writes that put the process in the cgroups whose files are open as `targets`. */
export function joinCgroups(table: Table, targets: readonly Cell[]): void {
  for (const target of targets) table.step("join the cgroup", "write", [target, "0", 1]);
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

/** Appends the opening of the host's null device, which reads as empty; before the host's files are out of sight. */
export function openNull(table: Table): Cell {
  return table.answer("open /dev/null", "openat", [AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0]);
}

/** Appends stdin, stdout and stderr from descriptors of the monitor's. */
export function attachStdio(table: Table, stdin: Operand, stdout: Operand, stderr: Operand): void {
  [stdin, stdout, stderr].forEach((source, target) => {
    table.step(`attach descriptor ${target}`, "dup3", [source, target, 0]);
  });
}

/**
 * Appends the closing of everything but stdio and the reply pipe, which closes itself at execve: no
 * descriptor of the host's is there when names that an image chose are resolved, nor afterwards. `first` is the
 * first that is closed.
 */
export function closeDescriptors(table: Table, first = 3): void {
  const reply = MONITOR_FD.request + 1;
  table.step("close descriptors below the reply pipe", "close_range", [first, reply - 1, 0]);
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

const MAX_PATH_ENTRIES = 64;

function searchPath(environment: readonly string[]): string[] {
  const variable = environment.findLast((entry) => entry.startsWith("PATH="));
  const directories = (variable?.slice("PATH=".length) ?? DEFAULT_PATH).split(":").slice(0, MAX_PATH_ENTRIES);
  return directories.map((directory) => (directory === "" ? "." : directory.replace(/\/+$/, "")));
}
