// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { spawnWithEngine } from "../launch/engine.ts";
import { becomeHostProgram } from "../launch/host-program.ts";
import { newProgram, type Table } from "../launch/program.ts";
import { setSignalAction, unblockSignals } from "../launch/signals.ts";
import { fileTail } from "../lib/file-tail.ts";
import { oneLine } from "../lib/foreign-text.ts";
import { O_APPEND, O_CREAT, O_RDWR, O_WRONLY } from "../linux/abi/fcntl.ts";
import { SIG_IGN, SIGNAL } from "../linux/abi/signal.ts";
import { type Fd, open } from "../linux/fd.ts";
import { identifyChild, type ProcessIdentity, signal, waitGone } from "../linux/process.ts";
import { trySyscall } from "../linux/syscall.ts";

/*
 * criu (criu.org) is one of the few programs of the host's that podrt executes: freezing and restoring processes
 * is a project of its own. It gets an environment of one variable, no descriptor but its own, and a bound on
 * the size of each file. A dump runs as the daemon's child, a restore as the monitor's (restore-program.ts).
 */

/** Where criu is looked for, and where it looks for what it executes itself. */
export const CRIU_DIRECTORIES = [
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
  "/usr/local/sbin",
  "/usr/local/bin",
];
export const CRIU_ENVIRONMENT = [`PATH=${CRIU_DIRECTORIES.join(":")}`];

/** Of each image and log: as much as the memory of one process may have. */
const FILE_LIMIT_BYTES = 1n << 40n;
const UNLIMITED = (1n << 64n) - 1n;
const GIVE_UP_TIMEOUT_MS = 15_000;
const KILL_TIMEOUT_MS = 5000;
const LOOK_MS = 100;
const RLIMIT_FSIZE = 1;
const LOG_TAIL_BYTES = 64 * 1024;
const QUOTE_LIMIT_CHARACTERS = 300;

/** Namespaces that criu is to share with the processes it works on: those it then leaves alone. */
export interface CriuJoin {
  /** pidfd of a member. */
  readonly of: Fd;
  /** CLONE_NEW flags. */
  readonly flags: number;
}

export interface CriuRun {
  readonly program: string;
  readonly arguments: readonly string[];
  /** An existing directory of the daemon's own, in which criu runs; what it prints is in `output` there. */
  readonly workDir: string;
  readonly join: readonly CriuJoin[];
  /** Ends the run when it aborts; its reason is thrown once criu is gone. */
  readonly signal: AbortSignal;
}

/** Runs criu to its end and answers its wait status (wait(2)). */
export async function runCriu(run: CriuRun): Promise<number> {
  run.signal.throwIfAborted();
  const process = spawn(run);
  while (!(await waitGone(process, LOOK_MS))) {
    if (run.signal.aborted) await stopCriu(process);
  }
  const status = new Uint8Array(4);
  trySyscall("wait4", process.pid, status, 0, 0);
  run.signal.throwIfAborted();
  return new DataView(status.buffer).getInt32(0, true);
}

/**
 * Makes a criu that runs give up: whatever it writes next fails, upon which it puts the processes back as
 * they were. Killed in the middle it might leave one with registers that are not its own; so that comes last.
 */
export async function stopCriu(process: ProcessIdentity): Promise<void> {
  const limit = new Uint8Array(new BigUint64Array([0n, UNLIMITED]).buffer);
  trySyscall("prlimit64", process.pid, RLIMIT_FSIZE, limit, null);
  if (await waitGone(process, GIVE_UP_TIMEOUT_MS)) return;
  signal(process, SIGNAL.SIGKILL);
  await waitGone(process, KILL_TIMEOUT_MS);
}

/**
 * Appends what holds for every criu: no signal blocked, and files of bounded size. A write beyond the bound
 * is an error for criu to handle, not the signal that would kill it; `execve` keeps what is ignored.
 */
export function limitCriu(table: Table): void {
  unblockSignals(table);
  setSignalAction(table, "SIGXFSZ", SIG_IGN);
  const limit = new Uint8Array(new BigUint64Array([FILE_LIMIT_BYTES, UNLIMITED]).buffer);
  table.step("limit the size of files", "prlimit64", [0, RLIMIT_FSIZE, limit, 0]);
}

function spawn({ program, arguments: args, workDir, join: joins }: CriuRun): ProcessIdentity {
  using nothing = open("/dev/null", O_RDWR);
  using output = open(join(workDir, "output"), O_WRONLY | O_CREAT | O_APPEND, 0o600);
  const child = newProgram("criu");
  const table = child.main;
  for (const { of, flags } of joins) table.step("join namespaces", "setns", [of.number, flags]);
  table.step("become a session leader", "setsid", []);
  table.step("enter the working directory", "chdir", [workDir]);
  limitCriu(table);
  becomeHostProgram(child, [nothing, output, output], [program, ...args], CRIU_ENVIRONMENT);
  const pid = spawnWithEngine(child);
  return identifyChild(pid);
}

/**
 * What criu complains of in its logs, for a person: its first error but for one that it goes on after. Logs name
 * files and processes of containers.
 */
export function criuError(...paths: readonly string[]): string {
  const lines = paths.flatMap((path) => fileTail(path, LOG_TAIL_BYTES).split("\n"));
  const errors = lines.filter(
    (line) => /\bError \(/.test(line) && !/RLIMIT_NOFILE|cgroupd: recv req/.test(line),
  );
  const line = errors[0] ?? lines.findLast((candidate) => candidate.trim() !== "") ?? "nothing";
  return oneLine(line.replace(/^(\([\d.]+\))?\s*(\d+: )?Error /, ""), QUOTE_LIMIT_CHARACTERS);
}
