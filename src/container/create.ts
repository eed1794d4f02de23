// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { FailedPreconditionError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import {
  type ContainerConfig,
  NamespaceMode,
  type PodSandboxConfig,
  SupplementalGroupsPolicy,
} from "../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../image/images.ts";
import { MONITOR_FD } from "../launch/monitor.ts";
import { checkMapping } from "../launch/mounts.ts";
import { Cleanup } from "../lib/cleanup.ts";
import { newId } from "../lib/id.ts";
import { JsonText } from "../lib/json-text.ts";
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { signalNumber } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import { podDir, upperDirectory } from "../paths.ts";
import type { Snapshot } from "../snapshot/snapshotter.ts";
import type { ContainerRecord, RestoreRecord } from "../state/containers.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import { applyCdiEdits, cdiEdits } from "./cdi.ts";
import { imageUsers } from "./image-users.ts";
import { findImageMounts, imageVolumeMounts, imageVolumeRecords } from "./image-volume.ts";
import { newLiveContainer } from "./live.ts";
import { mountPointLayer } from "./mount-points.ts";
import type { SandboxFiles } from "./mount-spec.ts";
import { checkContainerFor } from "./oci/handler.ts";
import { pidNamespace } from "./pid-namespace.ts";
import { capabilitySet } from "./process-spec.ts";
import { keptContainerConfig, sandboxConfig } from "./records.ts";
import { relabelMounts } from "./relabel.ts";
import { makeCgroup, pidsLimitFor } from "./resources.ts";
import { containersOf, nowNs, type Runtime, updateContainer } from "./runtime.ts";
import { apparmorProfile } from "./security/apparmor.ts";
import { readSeccompProfile, seccompChoice, seccompFilter } from "./security/seccomp.ts";
import { containerLabels } from "./security/selinux.ts";
import { runtimeSpec } from "./spec.ts";
import { HELD_FDS } from "./stdio.ts";
import { stopSignalName } from "./stop-signal.ts";
import { type ResolvedUser, resolveUser, type UserDatabase } from "./user.ts";
import {
  availableCapabilities,
  checkMapped,
  containerIdMappings,
  mountRoot,
  ownAsMapped,
  shownIds,
} from "./user-namespace.ts";

/** What a container begins with besides its image. */
export interface Beginning {
  readonly restore: RestoreRecord;
  /** Fills the new snapshot, which nobody else knows yet. */
  fill(snapshot: Snapshot): Promise<void>;
}

const inFlight = new Map<string, Promise<string>>();

/**
 * Makes a container in a ready sandbox: its snapshot, its resolved configuration, its record.
 *
 * A repeated call with the same name and attempt answers the same id, and joins the creation where
 * that is still going on: a kubelet whose call timed out repeats it.
 */
export async function createContainer(
  runtime: Runtime,
  sandboxId: string,
  config: ContainerConfig,
  beginning?: Beginning,
): Promise<string> {
  if (runtime.sandboxes.get(sandboxId) === undefined) {
    throw new NotFoundError(`sandbox ${sandboxId} does not exist`);
  }
  const { name = "", attempt = 0 } = config.metadata ?? {};
  const key = `${sandboxId}/${name}/${attempt}`;
  const running = inFlight.get(key);
  if (running !== undefined) return running;
  // What is left of one that could not be undone does not count, and is taken away at the next start.
  const existing = containersOf(runtime, sandboxId).find(
    (other) => other.created && other.name === name && other.attempt === attempt,
  );
  if (existing !== undefined) return existing.id;
  const creation = create(runtime, sandboxId, config, beginning).finally(() => inFlight.delete(key));
  inFlight.set(key, creation);
  return creation;
}

async function create(
  runtime: Runtime,
  sandboxId: string,
  config: ContainerConfig,
  beginning: Beginning | undefined,
): Promise<string> {
  enterPhase("resolve");
  const label = `container ${config.metadata?.name}`;
  const edits = await cdiEdits(runtime, config);
  const sandbox = readySandbox(runtime, sandboxId, label);
  checkPrivilege(config, sandboxConfig(sandbox), label);
  checkNamespaces(config, sandboxConfig(sandbox));
  checkContainerFor(sandbox.runtimeHandler, config);
  const security = config.linux?.securityContext;
  const choice = seccompChoice(security);
  const seccomp = readSeccompProfile(choice);
  const apparmor = apparmorProfile("config.linux.security_context", security, runtime.securityModules);
  const selinux = containerLabels(
    "config.linux.security_context",
    security,
    sandbox.selinux,
    runtime.securityModules.selinux,
  );
  const mappings = containerIdMappings(config, sandboxConfig(sandbox));
  const image = findImage(runtime, config, label);
  const imageMounts = findImageMounts(runtime, config);
  await using cleanup = new Cleanup((step, error) => runtime.log.error({ err: error, step }, "undo failed"));
  let record: ContainerRecord = {
    ...newRecord(runtime, sandbox, config, image),
    imageVolumes: imageVolumeRecords(imageMounts),
    ...(beginning === undefined ? {} : { restore: beginning.restore }),
  };
  noteSubject(record.id);
  runtime.containers.put(record.id, record);
  cleanup.add("forget the container", () => runtime.containers.delete(record.id));
  const user = containerUser(config, image, () => imageUsers(runtime, image));
  if (mappings !== undefined) checkMapped(user, mappings, label);
  const resolved = runtimeSpec(config, {
    image: image.config,
    user,
    hostname: hostnameOf(runtime, sandbox),
    files: sandboxFiles(runtime, sandbox),
    rootPath: upperDirectory(runtime.paths, record.id),
    cgroupPath: record.cgroupPath,
    pidsLimit: pidsLimitFor(runtime, sandbox),
    pausePid: sandbox.pause.pid,
    pidNamespace: pidNamespace(runtime, sandbox, config),
    hostNetwork:
      sandboxConfig(sandbox).linux?.securityContext?.namespaceOptions?.network === NamespaceMode.NODE,
    idMappings: mappings,
    available: availableCapabilities(runtime, mappings),
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(apparmor === undefined ? {} : { apparmorProfile: apparmor }),
    ...(selinux === undefined ? {} : { selinux }),
    imageMounts: imageVolumeMounts(runtime, imageMounts, mappings),
  });
  for (const mount of resolved.mounts) checkMapping(mount);
  await relabelMounts(config, selinux?.file);
  const asked = { config, spec: applyCdiEdits(resolved, edits) };
  cleanup.add("take back what plugins were told", () =>
    runtime.plugins.removeContainer({ ...record, runtimeSpec: new JsonText(asked.spec) }),
  );
  enterPhase("plugins");
  const { config: final, spec } = await runtime.plugins.createContainer(record, asked);
  enterPhase("snapshot");
  const snapshot = await runtime.snapshotter.prepare(
    record.id,
    image.layers.map((layer) => layer.chainId),
    // What is restored has them in its own layer, and so has a root whose layers are shown with other ids.
    beginning === undefined && mappings === undefined ? mountPointLayer(spec.mounts) : undefined,
  );
  cleanup.add("remove the snapshot", () => runtime.snapshotter.remove(record.id));
  await beginning?.fill(snapshot);
  // All that takes its time, and whoever stops or removes the pod meanwhile does not see this container.
  readySandbox(runtime, sandboxId, label);
  if (mappings !== undefined) ownAsMapped(snapshot.upperDir, mappings);
  enterPhase("root");
  const root = mountRoot(snapshot, shownIds(runtime, mappings), selinux?.file);
  cleanup.add("close the root", () => root.close());
  enterPhase("cgroup");
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  cleanup.add("remove the cgroup", () => cgroup.remove());
  makeCgroup(cgroup, final, spec);
  // A profile that cannot be compiled is found now, not at the start.
  seccompFilter(
    seccompChoice(final.linux?.securityContext),
    spec.linux.seccomp,
    capabilitySet(spec.process.capabilities.bounding),
  );
  enterPhase("record");
  const live = newLiveContainer();
  live.root = root;
  runtime.live.set(record.id, live);
  record = updateContainer(runtime, record, {
    created: true,
    ...(final === config ? {} : { config: keptContainerConfig(final) }),
    runtimeSpec: new JsonText(spec),
  });
  cleanup.release();
  runtime.events.emit("created", record.id, sandbox.id);
  return record.id;
}

function readySandbox(
  runtime: Runtime,
  sandboxId: string,
  label: string,
): SandboxRecord & { readonly pause: ProcessIdentity } {
  const sandbox = runtime.sandboxes.get(sandboxId);
  if (sandbox !== undefined && isReady(sandbox) && sandbox.pause !== undefined) {
    return { ...sandbox, pause: sandbox.pause };
  }
  throw new FailedPreconditionError(`cannot create ${label}: sandbox ${sandboxId} is not ready`);
}

function newRecord(
  runtime: Runtime,
  sandbox: SandboxRecord,
  config: ContainerConfig,
  image: ImageRecord,
): ContainerRecord {
  const id = newId();
  const { logDirectory } = sandboxConfig(sandbox);
  const requested = config.image?.image ?? "";
  return {
    id,
    sandboxId: sandbox.id,
    name: config.metadata?.name ?? "",
    attempt: config.metadata?.attempt ?? 0,
    createdAtNs: nowNs(),
    config: keptContainerConfig(config),
    imageId: image.id,
    imageName: image.repoTags[0] ?? requested,
    imageReference: image.repoDigests[0] ?? image.id,
    created: false,
    runtimeSpec: new JsonText({}),
    cgroupPath: join(sandbox.cgroupPath, "..", id),
    logPath: logDirectory === "" || config.logPath === "" ? "" : join(logDirectory, config.logPath),
    heldFd: freeHeldFd(containersOf(runtime, sandbox.id)),
    stopSignal: stopSignal(config, image),
  };
}

/** The lowest place for held descriptors that no container of the sandbox has. */
function freeHeldFd(others: readonly ContainerRecord[]): number {
  const taken = new Set(others.map((other) => other.heldFd));
  let place: number = MONITOR_FD.held;
  while (taken.has(place)) place += HELD_FDS;
  return place;
}

function stopSignal(config: ContainerConfig, image: ImageRecord): number {
  const requested = stopSignalName(config.stopSignal);
  if (requested !== undefined) return requested;
  return signalNumber(image.config.StopSignal) ?? (signalNumber("SIGTERM") as number);
}

function findImage(runtime: Runtime, config: ContainerConfig, label: string): ImageRecord {
  const reference = config.image?.image ?? "";
  const image = runtime.images.find(reference);
  if (image === undefined) {
    throw new NotFoundError(`cannot create ${label}: image ${reference} is not present; pull it first`);
  }
  return image;
}

function checkPrivilege(config: ContainerConfig, sandbox: PodSandboxConfig, label: string): void {
  if (!config.linux?.securityContext?.privileged || sandbox.linux?.securityContext?.privileged) return;
  throw new FailedPreconditionError(`cannot create ${label} as privileged: its sandbox is not privileged`);
}

/** Network and IPC are the pod's. What a container does not say reads as POD, so that only NODE can be a mistake. */
function checkNamespaces(config: ContainerConfig, sandbox: PodSandboxConfig): void {
  const asked = config.linux?.securityContext?.namespaceOptions;
  const given = sandbox.linux?.securityContext?.namespaceOptions;
  for (const field of ["network", "ipc"] as const) {
    if (asked?.[field] !== NamespaceMode.NODE || given?.[field] === NamespaceMode.NODE) continue;
    throw new InvalidArgumentError(
      `config.linux.security_context.namespace_options.${field}`,
      "must not be NODE, since the sandbox has a namespace of its own, which its containers share",
    );
  }
}

export function containerUser(
  config: ContainerConfig,
  image: ImageRecord,
  database: () => UserDatabase,
): ResolvedUser {
  const security = config.linux?.securityContext;
  const request = {
    runAsUser: security?.runAsUser === undefined ? undefined : Number(security.runAsUser.value),
    runAsUsername: security?.runAsUsername || undefined,
    runAsGroup: security?.runAsGroup === undefined ? undefined : Number(security.runAsGroup.value),
    supplementalGroups: (security?.supplementalGroups ?? []).map(Number),
    mergesImageGroups: security?.supplementalGroupsPolicy !== SupplementalGroupsPolicy.Strict,
    imageUser: image.config.User,
  };
  return resolveUser(request, database());
}

/** The host name that a sandbox's containers see. */
function hostnameOf(runtime: Runtime, sandbox: SandboxRecord): string {
  return sandboxConfig(sandbox).hostname || runtime.hostname;
}

/** The files of a sandbox that its containers share. */
function sandboxFiles(runtime: Runtime, sandbox: SandboxRecord): SandboxFiles {
  const dir = podDir(runtime.paths, sandbox.id);
  const ipc = sandboxConfig(sandbox).linux?.securityContext?.namespaceOptions?.ipc;
  return {
    hosts: join(dir, "hosts"),
    hostname: join(dir, "hostname"),
    resolvConf: join(dir, "resolv.conf"),
    shm: ipc === NamespaceMode.NODE ? "/dev/shm" : join(dir, "shm"),
  };
}
