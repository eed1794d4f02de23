// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, messageOf, NotFoundError, UnavailableError } from "../errors.ts";
import { placeIn } from "../launch/child.ts";
import { containerProgram } from "../launch/container-program.ts";
import { deviceFilesystem } from "../launch/devices.ts";
import { LaunchError } from "../launch/launch-error.ts";
import type { Monitor } from "../launch/monitor.ts";
import { makeLinkTarget } from "../launch/mount-point.ts";
import { newPassedFds } from "../launch/passed-fds.ts";
import { newUserNamespace } from "../launch/user-namespace.ts";
import { enterPhase } from "../lib/operation.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { type Cgroup, openCgroup } from "../linux/cgroup/cgroup.ts";
import type { Fd } from "../linux/fd.ts";
import { identify, identifyChild, type ProcessIdentity, pin, signal } from "../linux/process.ts";
import { hostRoot, type IdMappings } from "../oci/id-mapping.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import { releaseStdio, settleExit } from "./exit.ts";
import { openImageVolumes } from "./image-volume.ts";
import { closeLive, type LiveContainer, newLiveContainer } from "./live.ts";
import { openPidNamespace } from "./pid-namespace.ts";
import { containerConfig, launchTag, specOf } from "./records.ts";
import { makeCgroup } from "./resources.ts";
import { nowNs, type Runtime, snapshotOf, updateContainer } from "./runtime.ts";
import { identityOf } from "./security/identity.ts";
import { containerState } from "./status.ts";
import { logPlace, newStdio, startPumps } from "./stdio.ts";
import {
  availableCapabilities,
  mountRoot,
  rootMountPoint,
  shownIds,
  specIdMappings,
  stdioOwner,
} from "./user-namespace.ts";

/** One start of a container: what it needs, and what has been made for it. */
export interface Start {
  readonly runtime: Runtime;
  readonly sandbox: SandboxRecord;
  readonly monitor: Monitor;
  readonly record: ContainerRecord;
  readonly live: LiveContainer;
  readonly cgroup: Cgroup;
}

/** A container's first process. */
export interface Started {
  readonly process: ProcessIdentity;
  /** Lets it run, for one that stands still until its record is written. */
  readonly resume?: () => void;
}

/**
 * Starts a created container; a failure is recorded as its end (exit code 128, StartError) and thrown.
 * `launchWith` makes its first process.
 */
export async function startContainer(
  runtime: Runtime,
  id: string,
  launchWith: (start: Start) => Promise<Started> = launch,
): Promise<void> {
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

async function launch({ runtime, sandbox, monitor, record, live, cgroup }: Start): Promise<Started> {
  const config = containerConfig(record);
  const spec = specOf(record);
  // Owns all that is opened on the way: a launch that cannot be compiled leaves nothing open.
  using passed = newPassedFds();
  const mappings = specIdMappings(spec);
  const stdio = newStdio({ tty: config.tty, stdin: config.stdin }, record.heldFd, stdioOwner(spec));
  const { child, held, devpts } = stdio.launch;
  for (const fd of [...child, ...held, ...(devpts === undefined ? [] : [devpts])]) passed.own(fd);
  startPumps(live, stdio.daemon, logPlace(runtime, record), config.tty);
  const root = passed.own(takeRoot(runtime, record, live, mappings));
  for (const path of FILES_OF_POD) makeLinkTarget(root, path, mappings && hostRoot(mappings));
  const pidNamespace = openPidNamespace(runtime, sandbox, config);
  const devices = mappings && openDevices(spec, mappings);
  const program = containerProgram(
    {
      label: `container ${record.name}`,
      tag: launchTag(record.id),
      spec,
      identity: identityOf(spec, config.linux?.securityContext, runtime.securityModules),
      existingCapabilities: availableCapabilities(runtime, mappings),
      root,
      pause: passed.own(openPause(sandbox)),
      pidNamespace: pidNamespace && passed.own(pidNamespace),
      newPidNamespace: spec.linux.namespaces.some(({ type, path }) => type === "pid" && path === undefined),
      cgroup: placeIn(cgroup, passed),
      privateCgroupNamespace: spec.linux.namespaces.some(({ type }) => type === "cgroup"),
      devices: devices && passed.own(devices),
      stdio: stdio.launch,
      imageVolumes: openImageVolumes(runtime, spec, passed),
      rootMountPoint: rootMountPoint(runtime, mappings),
    },
    passed,
  );
  enterPhase("launch");
  await monitor.launch(program, passed.fds);
  const pid = monitor.history(launchTag(record.id))?.pid;
  if (pid === undefined)
    throw new UnavailableError(`the monitor could not fork for container ${record.name}`);
  return { process: identifyChild(pid) };
}

/** Files that every container has bound and that an image may have as links to somewhere. */
const FILES_OF_POD = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

function openDevices(spec: RuntimeSpec, mappings: IdMappings): Fd | undefined {
  using namespace = newUserNamespace(mappings);
  return deviceFilesystem(spec, namespace);
}

/** The root of a container that is being started, as a detached mount: the caller's. */
export function takeRoot(
  runtime: Runtime,
  record: ContainerRecord,
  live: LiveContainer,
  mappings: IdMappings | undefined,
): Fd {
  const prepared = live.root;
  live.root = undefined;
  if (prepared !== undefined) return prepared;
  return mountRoot(snapshotOf(runtime, record), shownIds(runtime, mappings), specOf(record).linux.mountLabel);
}

export function openPause(sandbox: SandboxRecord): Fd {
  const pidfd = sandbox.pause && pin(sandbox.pause);
  if (pidfd !== undefined) return pidfd;
  throw new FailedPreconditionError(`the pause of sandbox ${sandbox.id} has ended`);
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
  if (cgroup.exists()) await cgroup.kill();
  monitor.forget(tag);
  await releaseStdio(runtime, monitor, record);
  closeLive(live);
  runtime.live.delete(record.id);
  await cgroup
    .remove()
    .catch(() => cgroup.remove())
    .catch((err) => runtime.log.warn({ err, container: record.id }, "cgroup not removed"));
  runtime.events.emit("stopped", record.id, record.sandboxId);
}
