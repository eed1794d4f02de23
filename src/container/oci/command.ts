// SPDX-License-Identifier: Apache-2.0
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DeadlineExceededError, FailedPreconditionError } from "../../errors.ts";
import type { CgroupPlace } from "../../launch/child.ts";
import type { ChildExit } from "../../launch/journal.ts";
import type { Monitor } from "../../launch/monitor.ts";
import { type OciCommand, ociProgram } from "../../launch/oci-program.ts";
import { newPassedFds, type PassedFds } from "../../launch/passed-fds.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { fileTail } from "../../lib/file-tail.ts";
import { oneLine } from "../../lib/foreign-text.ts";
import { O_APPEND, O_CREAT, O_RDWR, O_WRONLY } from "../../linux/abi/fcntl.ts";
import { openCgroup } from "../../linux/cgroup/cgroup.ts";
import { cgroupMountPoints } from "../../linux/cgroup/host.ts";
import { open } from "../../linux/fd.ts";
import { identify } from "../../linux/process.ts";
import { killTree } from "../../linux/process-tree.ts";
import type { ContainerRecord } from "../../state/containers.ts";
import { exitCodeOf } from "../exit-code.ts";
import { newExecTag } from "../records.ts";
import type { Runtime } from "../runtime.ts";
import { bundleOf, type OciHandler, ociDirectory } from "./handler.ts";

/*
 * Commands of an OCI runtime run as children of the pod's monitor, which reaps them and, as their subreaper, what
 * they leave running. Their log is a file of the bundle, whose last line says why a command failed.
 */

/** Longer than any runtime takes that works. */
const COMMAND_TIMEOUT_MS = 20_000;
const LOG_TAIL_BYTES = 16 * 1024;
const REASON_LIMIT_CHARACTERS = 500;
const NOWHERE: CgroupPlace = { joinTargets: [], directory: undefined };

/** A container and the OCI runtime that makes it. */
export interface OciContainer {
  readonly runtime: Runtime;
  readonly monitor: Monitor;
  readonly record: ContainerRecord;
  readonly handler: OciHandler;
}

/** The words before a runtime's own command: where it keeps its state and writes its log. */
export function ociArguments({ runtime, record, handler }: Omit<OciContainer, "monitor">): string[] {
  const state = join(ociDirectory(runtime, record.sandboxId), "state");
  const log = join(bundleOf(runtime, record), "log.json");
  return [handler.path, "--root", state, "--log", log, "--log-format", "json"];
}

/** Runs a command that says nothing and ends by itself, as `start` or `delete`. */
export async function runOci(container: OciContainer, ...words: readonly string[]): Promise<void> {
  using passed = newPassedFds();
  const bundle = bundleOf(container.runtime, container.record);
  mkdirSync(bundle, { recursive: true, mode: 0o700 });
  const nothing = passed.own(open("/dev/null", O_RDWR));
  const output = passed.own(open(join(bundle, "output"), O_WRONLY | O_CREAT | O_APPEND, 0o600));
  await completeOci(container, words, { stdio: [nothing, output, output], cgroup: NOWHERE }, passed);
}

/** Runs a command with its own stdio, cgroup and mounts to its end. */
export async function completeOci(
  container: OciContainer,
  words: readonly string[],
  own: Pick<OciCommand, "stdio" | "cgroup" | "creates">,
  passed: PassedFds,
): Promise<void> {
  const { runtime, monitor, record, handler } = container;
  const tag = newExecTag();
  const ended = Promise.withResolvers<ChildExit>();
  runtime.execs.set(tag, ended.resolve);
  const label = `${handler.name} ${words[0]} of container ${record.name}`;
  try {
    const program = ociProgram(
      {
        label,
        tag,
        command: [...ociArguments(container), ...words],
        bundle: bundleOf(runtime, record),
        terminal: false,
        stage: runtime.paths.rootMountPoint,
        hiddenCgroups: hiddenCgroups(runtime),
        ...own,
      },
      passed,
    );
    await monitor.launch(program, passed.fds);
    const { status } = await withDeadline(ended.promise, COMMAND_TIMEOUT_MS, label);
    if (status !== 0) throw failed(container, label, status);
  } catch (error) {
    if (error instanceof DeadlineExceededError) giveUp(monitor, tag);
    throw error;
  } finally {
    runtime.execs.delete(tag);
    monitor.forget(tag);
  }
}

/**
 * Where a command is born whose children are to be in the container's cgroup: in the cgroup2 hierarchy of a hybrid
 * machine, which the runtime does not see. Anywhere else it joins the cgroups itself.
 */
export function hybridPlace(
  runtime: Runtime,
  { cgroupPath }: ContainerRecord,
  passed: PassedFds,
): CgroupPlace {
  if (runtime.cgroups.version !== "hybrid") return NOWHERE;
  const directory = openCgroup(runtime.cgroups, cgroupPath).directoryFd();
  return { joinTargets: [], directory: directory && passed.own(directory) };
}

/**
 * Beside the hierarchies that podrt makes cgroups in, a machine with cgroup v1 has others. A runtime would make
 * cgroups there that nobody removes, and some refuse machines that have cgroup2 beside v1.
 */
export function hiddenCgroups({ cgroups }: Pick<Runtime, "cgroups">): string[] {
  if (cgroups.version === "v2") return [];
  const known = new Set(cgroups.hierarchies.map(({ mountPoint }) => mountPoint));
  return cgroupMountPoints().filter((mountPoint) => !known.has(mountPoint));
}

function giveUp(monitor: Monitor, tag: number): void {
  const launched = monitor.history(tag);
  const process = launched === undefined ? undefined : identify(launched.pid);
  if (process !== undefined) killTree(process);
}

function failed({ runtime, record, handler }: OciContainer, label: string, status: number): Error {
  const reason = lastError(join(bundleOf(runtime, record), "log.json")) ?? "it does not say why";
  return new FailedPreconditionError(
    `${label}: ${handler.path} ended with code ${exitCodeOf(status)}: ${reason}`,
  );
}

/** The last message of a log in JSON lines, in one line itself. */
function lastError(file: string): string | undefined {
  const message = fileTail(file, LOG_TAIL_BYTES)
    .split("\n")
    .map(messageIn)
    .findLast((text) => text !== undefined);
  return message === undefined ? undefined : oneLine(message, REASON_LIMIT_CHARACTERS);
}

function messageIn(line: string): string | undefined {
  try {
    const { msg } = JSON.parse(line) as { readonly msg?: unknown };
    return typeof msg === "string" ? msg : undefined;
  } catch {
    // A part of a line, or of something else.
    return undefined;
  }
}
