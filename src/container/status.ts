// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import {
  type Container,
  ContainerSchema,
  ContainerState,
  type ContainerStatus,
  ContainerStatusSchema,
  type ImageSpec,
  ImageSpecSchema,
  type Mount,
  MountSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { oncePer } from "../lib/once-per.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { timingsOf } from "../telemetry/stopwatch.ts";
import { outOfMemoryOf } from "./out-of-memory.ts";
import { containerConfig, specOf } from "./records.ts";
import { isBeingRemoved } from "./removal.ts";
import { runtimeResources } from "./resources.ts";
import type { Runtime } from "./runtime.ts";
import { seccompChoice, seccompProfile } from "./security/seccomp.ts";
import { stopSignalOf } from "./stop-signal.ts";

/*
 *   created ──start──▶ running ──exit──▶ exited
 *      └──failed start─────────────────────▲
 *
 * The state is derived from the times in the record, so that no column can contradict them. A
 * container that was being started when the daemon died, and whose launch the journal does not know,
 * can still be started; see `recover.ts`.
 */
export type ContainerStateName = "created" | "running" | "exited";

export function containerState(record: ContainerRecord): ContainerStateName {
  if (record.finishedAtNs !== undefined) return "exited";
  if (record.startedAtNs !== undefined) return "running";
  return "created";
}

/** The record of a container that is running; NotFound or FailedPrecondition for any other. */
export function runningContainer(runtime: Runtime, id: string): ContainerRecord {
  const record = runtime.containers.get(id);
  if (record === undefined) throw new NotFoundError(`container ${id} does not exist`);
  const state = containerState(record);
  if (state !== "running") throw new FailedPreconditionError(`container ${id} is ${state}, not running`);
  return record;
}

const STATES: Readonly<Record<ContainerStateName, ContainerState>> = {
  created: ContainerState.CONTAINER_CREATED,
  running: ContainerState.CONTAINER_RUNNING,
  exited: ContainerState.CONTAINER_EXITED,
};

/** A container as ListContainers shows it; the same object for the same record, not to be changed. */
// Records are replaced when something changes, and lists are asked for every second.
export const containerItem: (record: ContainerRecord) => Container = oncePer(newItem);

function newItem(record: ContainerRecord): Container {
  const config = containerConfig(record);
  return create(ContainerSchema, {
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata: { name: record.name, attempt: record.attempt },
    image: imageSpec(record),
    imageRef: record.imageReference,
    imageId: record.imageId,
    state: STATES[containerState(record)],
    createdAt: BigInt(record.createdAtNs),
    labels: config.labels,
    annotations: config.annotations,
  });
}

/** A container as ContainerStatus shows it. */
export function containerStatus(record: ContainerRecord): ContainerStatus {
  const config = containerConfig(record);
  const { user } = specOf(record).process;
  const resources = config.linux?.resources;
  return create(ContainerStatusSchema, {
    id: record.id,
    metadata: { name: record.name, attempt: record.attempt },
    state: STATES[containerState(record)],
    createdAt: BigInt(record.createdAtNs),
    startedAt: BigInt(record.startedAtNs ?? 0),
    finishedAt: BigInt(record.finishedAtNs ?? 0),
    exitCode: record.exitCode ?? 0,
    image: imageSpec(record),
    imageRef: record.imageReference,
    imageId: record.imageId,
    reason: record.reason ?? "",
    message: record.message ?? "",
    labels: config.labels,
    annotations: config.annotations,
    mounts: mountsOf(record),
    logPath: record.logPath,
    ...(resources === undefined ? {} : { resources: { linux: resources } }),
    user: {
      linux: {
        uid: BigInt(user.uid),
        gid: BigInt(user.gid),
        supplementalGroups: user.additionalGids.map(BigInt),
      },
    },
    stopSignal: stopSignalOf(record.stopSignal),
  });
}

/** The mounts as they were asked for, in that order; of an image, with its id, by which callers spare it. */
function mountsOf(record: ContainerRecord): Mount[] {
  const volumes = new Map((record.imageVolumes ?? []).map((volume) => [volume.mount, volume]));
  return containerConfig(record).mounts.map((mount, index) => {
    const volume = volumes.get(index);
    if (volume === undefined || mount.image === undefined) return create(MountSchema, mount);
    const { imageId, imageReference } = volume;
    return create(MountSchema, {
      ...mount,
      image: create(ImageSpecSchema, { ...mount.image, image: imageId, imageRef: imageReference }),
    });
  });
}

function imageSpec(record: ContainerRecord): ImageSpec {
  const { image } = containerConfig(record);
  return create(ImageSpecSchema, {
    image: record.imageName,
    annotations: image?.annotations ?? {},
    userSpecifiedImage: image?.userSpecifiedImage ?? "",
    runtimeHandler: image?.runtimeHandler ?? "",
  });
}

/** What verbose status tells besides: the object behind the key `info`. */
export function containerInfo(
  runtime: Pick<Runtime, "cgroups" | "sandboxes">,
  record: ContainerRecord,
): object {
  const spec = specOf(record);
  const config = containerConfig(record);
  const security = config.linux?.securityContext;
  const choice = seccompChoice(security);
  const capabilities = new Set(spec.process.capabilities.bounding.map((name) => name.slice("CAP_".length)));
  const seccomp = seccompProfile(choice, spec.linux.seccomp, capabilities);
  const outOfMemory = outOfMemoryOf(runtime, record);
  return {
    sandboxID: record.sandboxId,
    pid: containerState(record) === "running" ? (record.process?.pid ?? 0) : 0,
    removing: isBeingRemoved(record.id),
    ...(outOfMemory === undefined ? {} : { outOfMemory }),
    snapshotKey: record.id,
    snapshotter: "overlay",
    runtimeType: "podrt",
    privileged: security?.privileged ?? false,
    config: record.config.value,
    runtimeSpec: {
      ...spec,
      linux: {
        ...spec.linux,
        resources: { ...runtimeResources(config.linux?.resources), ...spec.linux.resources },
        ...(seccomp === undefined ? {} : { seccomp }),
      },
    },
    timings: timingsOf(record.id),
  };
}
