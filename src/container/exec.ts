// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InternalError, UnavailableError } from "../errors.ts";
import { execProgram } from "../launch/exec-program.ts";
import type { ChildExit } from "../launch/journal.ts";
import { LaunchError } from "../launch/launch-error.ts";
import type { Monitor } from "../launch/monitor.ts";
import { newPassedFds, type PassedFds } from "../launch/passed-fds.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import type { Fd } from "../linux/fd.ts";
import { identifyChildOf, type ProcessIdentity, pin, signal } from "../linux/process.ts";
import { killTree } from "../linux/process-tree.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { type ExecCgroup, makeExecCgroup, placeExec } from "./exec-cgroup.ts";
import { commandFailure, explain } from "./exec-failure.ts";
import { type ExecEnds, type ExecStdio, openExecStdio } from "./exec-stdio.ts";
import { exitCodeOf } from "./exit-code.ts";
import { ociExec, removeOciExec } from "./oci/exec.ts";
import { hasOciHandler } from "./oci/handler.ts";
import { containerConfig, newExecTag, specOf } from "./records.ts";
import type { Runtime } from "./runtime.ts";
import { identityOf } from "./security/identity.ts";
import { runningContainer } from "./status.ts";
import { availableCapabilities, specIdMappings } from "./user-namespace.ts";

/** What to run in a running container, and with which stdio. */
export interface ExecRequest {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  /**
   * For a command whose output is wanted at its end only: given the output's descriptors, says until when that may be
   * waited for before anybody looks at the command at all.
   */
  readonly patience?: (outputs: readonly Fd[]) => Promise<void>;
}

/** An exec that was launched. The descriptors are non-blocking and the caller's to close. */
export interface Exec extends ExecEnds {
  /**
   * Resolves with the exit code, 128 plus the signal for a killed process. A command that is not there
   * has 127, one that cannot be executed 126, as in a shell, and its stderr says why.
   */
  readonly exited: Promise<number>;
  /**
   * Kills everything that the command has started, also what is in a session of its own. Resolves when
   * it is gone, or some seconds later with a line in the log. Once the command has ended nothing is
   * killed: what it left running is the container's.
   */
  kill(): Promise<void>;
}

/** Runs a command in a container with the container's identity, namespaces, limits and environment. */
export async function startExec(runtime: Runtime, id: string, request: ExecRequest): Promise<Exec> {
  const record = runningContainer(runtime, id);
  const monitor = runtime.monitors.get(record.sandboxId);
  if (monitor === undefined) throw new UnavailableError(`the monitor of sandbox ${record.sandboxId} is gone`);
  const stdio = openExecStdio(runtime, record, request);
  try {
    using passed = newPassedFds();
    for (const fd of stdio.child) if (fd !== undefined) passed.own(fd);
    return { ...(await launchExec(runtime, monitor, record, request, stdio, passed)), ...stdio.daemon };
  } catch (error) {
    for (const fd of Object.values(stdio.daemon)) fd?.close();
    throw error;
  }
}

async function launchExec(
  runtime: Runtime,
  monitor: Monitor,
  record: ContainerRecord,
  request: ExecRequest,
  stdio: ExecStdio,
  passed: PassedFds,
): Promise<Omit<Exec, keyof ExecEnds>> {
  const tag = newExecTag();
  const ended = Promise.withResolvers<ChildExit>();
  runtime.execs.set(tag, ended.resolve);
  let cgroup: ExecCgroup | undefined;
  try {
    const isOci = hasOciHandler(runtime, record);
    // An OCI runtime puts what it executes into the container's cgroup itself, unless it does not see the hierarchy.
    if (!isOci || runtime.cgroups.version === "hybrid") cgroup = makeExecCgroup(runtime, record, tag, passed);
    const compiled = { ...request, tag, stdio: stdio.child, cgroup };
    const program = isOci
      ? ociExec({ runtime, monitor, record }, compiled, passed)
      : compile(runtime, record, compiled, passed);
    const failure = await monitor.launch(program, passed.fds, briefly(tag, request, stdio.daemon)).then(
      () => undefined,
      (error: unknown) => {
        if (isOci) throw error;
        const code = commandFailure(error);
        if (code === undefined) throw hasEnded(error) ? justEnded(record) : error;
        explain(error, stdio.child[2]);
        return code;
      },
    );
    const history = monitor.history(tag);
    if (history === undefined)
      throw new UnavailableError(`the monitor could not fork for an exec in container ${record.id}`);
    if (history.exit !== undefined) ended.resolve(history.exit);
    return watch(runtime, monitor, record, { tag, pid: history.pid, cgroup, failure, ended });
  } catch (error) {
    abandon(runtime, monitor, tag, cgroup);
    removeOciExec(runtime, record, tag);
    throw error;
  }
}

interface Launched {
  readonly tag: number;
  readonly pid: number;
  readonly cgroup: ExecCgroup | undefined;
  /** The exit code of a command that could not be executed. */
  readonly failure: number | undefined;
  readonly ended: PromiseWithResolvers<ChildExit>;
}

function watch(
  runtime: Runtime,
  monitor: Monitor,
  record: ContainerRecord,
  { tag, pid, cgroup, failure, ended }: Launched,
): Omit<Exec, keyof ExecEnds> {
  const unsubscribe = giveUpWithContainer(runtime, record.id, pid, ended.resolve);
  let hasEnded = false;
  const exited = ended.promise.then((exit) => {
    hasEnded = true;
    unsubscribe();
    runtime.execs.delete(tag);
    monitor.forget(tag);
    cgroup?.release();
    removeOciExec(runtime, record, tag);
    return failure ?? exitCodeOf(exit.status);
  });
  const kill = async () => {
    if (hasEnded) return;
    try {
      const process = identifyLaunched(monitor, tag, pid);
      if (process !== undefined) {
        if (cgroup === undefined) killTree(process);
        // Also one that has left its cgroup, as root in a privileged container can.
        signal(process, SIGNAL.SIGKILL);
      }
      const isEmpty = (await cgroup?.kill()) ?? true;
      const isReaped = await Promise.race([exited.then(() => true), Bun.sleep(REAP_TIMEOUT_MS)]);
      if (!isEmpty || !isReaped) throw new InternalError(`process ${pid} or a child of it does not end`);
    } catch (err) {
      runtime.log.warn({ err, container: record.id }, "an exec was killed and is still there");
    }
  };
  return { exited, kill };
}

/**
 * Lets go of an exec that failed. Its child may still be on its way out; a launch that timed out and gets
 * through later finds no cgroup to be born into.
 */
function abandon(runtime: Runtime, monitor: Monitor, tag: number, cgroup: ExecCgroup | undefined): void {
  const forget = () => {
    runtime.execs.delete(tag);
    monitor.forget(tag);
  };
  const history = monitor.history(tag);
  if (history === undefined || history.exit !== undefined) forget();
  else runtime.execs.set(tag, forget);
  void cgroup
    ?.kill()
    .catch((err) => runtime.log.warn({ err, tag }, "an exec that failed is still there"))
    .then(cgroup.release);
}

// How long the monitor may take to report an exec that was killed with its container.
const REPORT_TIMEOUT_MS = 1000;
// How long after SIGKILL a process that is not stuck in the kernel may take.
const REAP_TIMEOUT_MS = 2000;

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

/** The process of a launch; undefined when the journal has its end. */
function identifyLaunched(monitor: Monitor, tag: number, pid: number): ProcessIdentity | undefined {
  // A number that was given out again is no child of the monitor's, or the journal tells of the end before: the
  // monitor writes that down before it makes another child.
  const process = identifyChildOf(monitor.identity.pid, pid);
  monitor.catchUp();
  return monitor.history(tag)?.exit === undefined ? process : undefined;
}

interface CompiledExec extends ExecRequest {
  readonly tag: number;
  readonly stdio: ExecStdio["child"];
  readonly cgroup: ExecCgroup | undefined;
}

function compile(runtime: Runtime, record: ContainerRecord, request: CompiledExec, passed: PassedFds) {
  const spec = specOf(record);
  const mappings = specIdMappings(spec);
  return execProgram(
    {
      label: `exec in container ${record.name}`,
      tag: request.tag,
      command: request.command,
      environment: request.tty ? withTerm(spec.process.env) : spec.process.env,
      cwd: spec.process.cwd,
      oomScoreAdj: spec.process.oomScoreAdj,
      identity: identityOf(spec, containerConfig(record).linux?.securityContext, runtime.securityModules),
      existingCapabilities: availableCapabilities(runtime, mappings),
      userNamespace: mappings !== undefined,
      container: passed.own(openProcess(runtime, record)),
      cgroup: placeExec(runtime, record, request.cgroup, passed),
      terminal: request.tty,
      stdio: request.stdio,
    },
    passed,
  );
}

function withTerm(environment: readonly string[]): readonly string[] {
  return environment.some((entry) => entry.startsWith("TERM="))
    ? environment
    : [...environment, "TERM=xterm"];
}

/** A pidfd of the container's first process, which may have ended since the first exec opened it. */
function openProcess(runtime: Runtime, record: ContainerRecord): Fd {
  const live = runtime.live.get(record.id);
  if (live?.process !== undefined) return live.process.duplicate();
  const pidfd = record.process && pin(record.process);
  if (pidfd === undefined) throw justEnded(record);
  if (live !== undefined) live.process = pidfd.duplicate();
  return pidfd;
}

function justEnded({ id }: ContainerRecord): FailedPreconditionError {
  return new FailedPreconditionError(`container ${id} has just ended`);
}

/** Whether a launch failed since the process whose namespaces it was to join has ended. */
function hasEnded(error: unknown): boolean {
  return error instanceof LaunchError && error.call === "setns" && error.errno === ERRNO.ESRCH;
}

function briefly(tag: number, { patience }: ExecRequest, { stdout, stderr }: ExecEnds) {
  if (patience === undefined) return undefined;
  return { tag, patience: patience(stderr === undefined ? [stdout] : [stdout, stderr]) };
}
