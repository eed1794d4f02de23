// SPDX-License-Identifier: Apache-2.0

import { FailedPreconditionError, messageOf, NotFoundError } from "../errors.ts";
import { LaunchError } from "../launch/launch-error.ts";
import type { Monitor } from "../launch/monitor.ts";
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { twice } from "../lib/twice.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { type Cgroup, openCgroup } from "../linux/cgroup/cgroup.ts";
import { identify, signal } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import { releaseStdio, settleExit } from "./exit.ts";
import { launch, type Start, type Started } from "./launch.ts";
import { closeLive, type LiveContainer, newLiveContainer } from "./live.ts";
import { endOci } from "./oci/end.ts";
import { ociHandler } from "./oci/handler.ts";
import { launchByOci } from "./oci/launch.ts";
import { containerConfig, launchTag, specOf } from "./records.ts";
import { makeCgroup } from "./resources.ts";
import { nowNs, type Runtime, updateContainer } from "./runtime.ts";
import { containerState } from "./status.ts";

/**
 * Starts a created container; a failure is recorded as its end (exit code 128, StartError) and thrown.
 * `launchWith` makes its first process.
 */
export async function startContainer(
  runtime: Runtime,
  id: string,
  launchWith: (start: Start) => Promise<Started> = launchByHandler,
): Promise<void> {
  noteSubject(id);
  enterPhase("lock");
  await runtime.locks.run(id, async () => {
    enterPhase("prepare");
    const record = runtime.containers.get(id);
    if (record === undefined) throw new NotFoundError(`container ${id} does not exist`);
    const state = containerState(record);
    if (state !== "created") {
      throw new FailedPreconditionError(
        `cannot start container ${id}: it is ${state}, and a container starts once`,
      );
    }
    const sandbox = runtime.sandboxes.get(record.sandboxId);
    const monitor = runtime.monitors.get(record.sandboxId);
    if (sandbox === undefined || monitor === undefined || !isReady(sandbox)) {
      throw new FailedPreconditionError(
        `cannot start container ${id}: its sandbox ${record.sandboxId} is not ready`,
      );
    }
    if (monitor.refusal !== undefined)
      throw new FailedPreconditionError(`cannot start container ${id}: ${monitor.refusal}`);
    const starting = updateContainer(runtime, record, { startingAtNs: nowNs() });
    await start(runtime, sandbox, monitor, starting, launchWith);
  });
}

/** By podrt itself, or by the OCI runtime that the sandbox was made for. */
async function launchByHandler(starting: Start): Promise<Started> {
  const handler = ociHandler(starting.runtime, starting.sandbox);
  return handler === undefined ? launch(starting) : launchByOci(starting, handler);
}

async function start(
  runtime: Runtime,
  sandbox: SandboxRecord,
  monitor: Monitor,
  record: ContainerRecord,
  launchWith: (start: Start) => Promise<Started>,
): Promise<void> {
  const live = runtime.live.get(record.id) ?? newLiveContainer();
  runtime.live.set(record.id, live);
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  try {
    // Made with the container; a reboot has taken it away.
    if (!cgroup.exists()) makeCgroup(cgroup, containerConfig(record), specOf(record));
    enterPhase("plugins");
    await runtime.plugins.startContainer(record);
    enterPhase("network");
    await runtime.network.usable(sandbox.id);
    enterPhase("compile");
    const { process, resume } = await launchWith({ runtime, sandbox, monitor, record, live, cgroup });
    enterPhase("record");
    const running = updateContainer(runtime, record, { startedAtNs: nowNs(), process });
    resume?.();
    runtime.events.emit("started", record.id, record.sandboxId);
    // A process that has ended already was reaped before anybody listened for it.
    const history = monitor.history(launchTag(record.id));
    if (history?.exit !== undefined) void settleExit(runtime, running, history.exit);
  } catch (error) {
    await recordFailedStart(runtime, monitor, record, live, cgroup, error);
    throw error;
  }
}

async function recordFailedStart(
  runtime: Runtime,
  monitor: Monitor,
  record: ContainerRecord,
  live: LiveContainer,
  cgroup: Cgroup,
  error: unknown,
): Promise<void> {
  updateContainer(runtime, record, {
    finishedAtNs: nowNs(),
    exitCode: 128,
    reason: "StartError",
    message: messageOf(error),
  });
  if (!(error instanceof LaunchError))
    runtime.log.error({ err: error, container: record.id }, "start failed");
  // A launch that timed out may get through later, and nobody would know the process.
  const tag = launchTag(record.id);
  const launched = monitor.history(tag);
  const process = launched?.exit === undefined && launched !== undefined ? identify(launched.pid) : undefined;
  if (process !== undefined) signal(process, SIGNAL.SIGKILL);
  await endOci(runtime, monitor, record);
  if (cgroup.exists()) await cgroup.kill();
  monitor.forget(tag);
  await releaseStdio(runtime, monitor, record);
  closeLive(live);
  runtime.live.delete(record.id);
  await twice(() => cgroup.remove()).catch((err) =>
    runtime.log.warn({ err, container: record.id }, "cgroup not removed"),
  );
  runtime.events.emit("stopped", record.id, record.sandboxId);
}
