// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, UnavailableError } from "../errors.ts";
import { placeIn } from "../launch/child.ts";
import { containerProgram } from "../launch/container-program.ts";
import { deviceFilesystem } from "../launch/devices.ts";
import type { Monitor } from "../launch/monitor.ts";
import { makeLinkTarget } from "../launch/mount-point.ts";
import { newPassedFds } from "../launch/passed-fds.ts";
import { newUserNamespace } from "../launch/user-namespace.ts";
import { enterPhase } from "../lib/operation.ts";
import type { Cgroup } from "../linux/cgroup/cgroup.ts";
import type { Fd } from "../linux/fd.ts";
import { identifyChild, type ProcessIdentity, pin } from "../linux/process.ts";
import { hostRoot, type IdMappings } from "../oci/id-mapping.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { openCgroupMounts } from "./cgroup-mounts.ts";
import { openImageVolumes } from "./image-volume.ts";
import type { LiveContainer } from "./live.ts";
import { openPidNamespace } from "./pid-namespace.ts";
import { containerConfig, launchTag, specOf } from "./records.ts";
import { type Runtime, snapshotOf } from "./runtime.ts";
import { identityOf } from "./security/identity.ts";
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

/** Launches a container's first process by a launch program of podrt's own. */
export async function launch({ runtime, sandbox, monitor, record, live, cgroup }: Start): Promise<Started> {
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
      isPauseBare: sandbox.image === undefined,
      pidNamespace: pidNamespace && passed.own(pidNamespace),
      newPidNamespace: spec.linux.namespaces.some(({ type, path }) => type === "pid" && path === undefined),
      cgroup: placeIn(cgroup, passed),
      privateCgroupNamespace: spec.linux.namespaces.some(({ type }) => type === "cgroup"),
      devices: devices && passed.own(devices),
      stdio: stdio.launch,
      imageVolumes: openImageVolumes(runtime, spec, passed),
      cgroupMounts: openCgroupMounts(spec, cgroup, passed),
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
export const FILES_OF_POD = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

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
