// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { FailedPreconditionError, NotFoundError, UnavailableError } from "../errors.ts";
import { placeIn } from "../launch/child.ts";
import { execProgram } from "../launch/exec-program.ts";
import type { ChildExit } from "../launch/journal.ts";
import { newPassedFds } from "../launch/passed-fds.ts";
import { O_DIRECTORY, O_PATH, O_RDWR } from "../linux/abi/fcntl.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { type Fd, open, pipe, setNonBlocking } from "../linux/fd.ts";
import { identify, isAlive, openPidfd, type ProcessIdentity } from "../linux/process.ts";
import { openTerminalIn } from "../linux/pty.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { exitCodeOf } from "./exit.ts";
import { containerConfig, specOf } from "./records.ts";
import type { Runtime } from "./runtime.ts";
import { identityOf } from "./start.ts";
import { containerState } from "./status.ts";

/** What to run in a running container, and with which stdio. */
export interface ExecRequest {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
}

/** A running exec. The descriptors are non-blocking and the caller's to close. */
export interface Exec {
  readonly process: ProcessIdentity;
  readonly stdout: Fd;
  /** Absent with a terminal, where both streams are one. */
  readonly stderr: Fd | undefined;
  readonly stdin: Fd | undefined;
  readonly terminal: Fd | undefined;
  /** Resolves with the exit code, 128 plus the signal for a killed process. */
  readonly exited: Promise<number>;
}

/** Runs a command in a container with the container's identity, namespaces, cgroup and environment. */
export async function startExec(runtime: Runtime, id: string, request: ExecRequest): Promise<Exec> {
  const record = runningContainer(runtime, id);
  const monitor = runtime.monitors.get(record.sandboxId);
  if (monitor === undefined) throw new UnavailableError(`the monitor of sandbox ${record.sandboxId} is gone`);
  const stdio = request.tty ? terminalStdio(record, request) : pipeStdio(request);
  const tag = newTag();
  const ended = Promise.withResolvers<ChildExit>();
  runtime.execs.set(tag, ended.resolve);
  try {
    using passed = newPassedFds();
    for (const fd of stdio.child) passed.own(fd);
    await monitor.launch(compile(runtime, record, request, tag, stdio.child, passed), passed.fds);
    const history = monitor.history(tag);
    if (history === undefined)
      throw new UnavailableError(`the monitor could not fork for an exec in container ${id}`);
    if (history.exit !== undefined) ended.resolve(history.exit);
    const unsubscribe = giveUpWithContainer(runtime, id, history.pid, ended.resolve);
    const exited = ended.promise.then((exit) => {
      unsubscribe();
      runtime.execs.delete(tag);
      monitor.forget(tag);
      return exitCodeOf(exit.status);
    });
    const process = identify(history.pid) ?? { pid: history.pid, startTicks: "0" };
    return { process, exited, ...stdio.daemon };
  } catch (error) {
    runtime.execs.delete(tag);
    for (const fd of Object.values(stdio.daemon)) fd?.close();
    throw error;
  }
}

// How long the monitor may take to report an exec that was killed with its container.
const REPORT_TIMEOUT_MS = 1000;

/** An exec ends with its container at the latest, also when the monitor that would tell has died. */
function giveUpWithContainer(
  runtime: Runtime,
  id: string,
  pid: number,
  resolve: (exit: ChildExit) => void,
): () => void {
  return runtime.events.subscribe(({ type, containerId }) => {
    if (type !== "stopped" || containerId !== id) return;
    setTimeout(() => resolve({ pid, status: SIGNAL.SIGKILL, atNs: 0n }), REPORT_TIMEOUT_MS).unref();
  });
}

function compile(
  runtime: Runtime,
  record: ContainerRecord,
  request: ExecRequest,
  tag: number,
  stdio: readonly [Fd, Fd, Fd],
  passed: ReturnType<typeof newPassedFds>,
) {
  const spec = specOf(record);
  return execProgram(
    {
      label: `exec in container ${record.name}`,
      tag,
      command: request.command,
      environment: request.tty ? withTerm(spec.process.env) : spec.process.env,
      cwd: spec.process.cwd,
      oomScoreAdj: spec.process.oomScoreAdj,
      identity: identityOf(spec, containerConfig(record).linux?.securityContext),
      existingCapabilities: runtime.capabilities,
      container: passed.own(openProcess(record)),
      cgroup: placeIn(openCgroup(runtime.cgroups, record.cgroupPath), passed),
      terminal: request.tty,
      stdio,
    },
    passed,
  );
}

function withTerm(environment: readonly string[]): readonly string[] {
  return environment.some((entry) => entry.startsWith("TERM="))
    ? environment
    : [...environment, "TERM=xterm"];
}

/** The record of a container that is running; NotFound or FailedPrecondition for any other. */
export function runningContainer(runtime: Runtime, id: string): ContainerRecord {
  const record = runtime.containers.get(id);
  if (record === undefined) throw new NotFoundError(`container ${id} does not exist`);
  const state = containerState(record);
  if (state !== "running") throw new FailedPreconditionError(`container ${id} is ${state}, not running`);
  return record;
}

// The pidfd is opened by number and holds whatever has that number; the look at the start time comes after.
function openProcess(record: ContainerRecord): Fd {
  const { process } = record;
  if (process === undefined) throw new FailedPreconditionError(`container ${record.id} has no process`);
  const pidfd = openPidfd(process.pid);
  if (isAlive(process)) return pidfd;
  pidfd.close();
  throw new FailedPreconditionError(`container ${record.id} has just ended`);
}

type DaemonEnds = Pick<Exec, "stdout" | "stderr" | "stdin" | "terminal">;

function pipeStdio(request: ExecRequest): { child: readonly [Fd, Fd, Fd]; daemon: DaemonEnds } {
  const stdout = pipe();
  const stderr = pipe();
  const stdin = request.stdin ? pipe() : undefined;
  for (const fd of [stdout.read, stderr.read, stdin?.write])
    if (fd !== undefined) setNonBlocking(fd.number, true);
  return {
    child: [stdin?.read ?? open("/dev/null", O_RDWR), stdout.write, stderr.write],
    daemon: { stdout: stdout.read, stderr: stderr.read, stdin: stdin?.write, terminal: undefined },
  };
}

function terminalStdio(
  record: ContainerRecord,
  request: ExecRequest,
): { child: readonly [Fd, Fd, Fd]; daemon: DaemonEnds } {
  using root = open(`/proc/${record.process?.pid}/root`, O_PATH | O_DIRECTORY);
  const { master, slave } = openTerminalIn(root.number);
  return {
    child: [slave, slave.duplicate(), slave.duplicate()],
    daemon: {
      stdout: master,
      stderr: undefined,
      stdin: request.stdin ? master.duplicate() : undefined,
      terminal: master.duplicate(),
    },
  };
}

// Above every container's tag, which has 48 bits, and still exact in a double.
const FIRST_EXEC_TAG = 2 ** 50;
const TAGS = 2 ** 48 - 1;

function newTag(): number {
  return FIRST_EXEC_TAG + randomInt(TAGS);
}
