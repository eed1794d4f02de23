// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Creation } from "../container/plugins.ts";
import { containerConfig, sandboxConfig, specOf } from "../container/records.ts";
import { containerState } from "../container/status.ts";
import {
  type ContainerSchema,
  ContainerState,
  IOPrioClass,
  type LinuxContainerSchema,
  type PodSandboxSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { nriResources } from "./resources.ts";

/** A pod as plugins are told of it. */
export function podMessage(record: SandboxRecord): MessageInitShape<typeof PodSandboxSchema> {
  const { labels, annotations, linux } = sandboxConfig(record);
  return {
    id: record.id,
    name: record.name,
    uid: record.uid,
    namespace: record.namespace,
    labels,
    annotations,
    runtimeHandler: record.runtimeHandler,
    linux: {
      podOverhead: nriResources(linux?.overhead),
      podResources: nriResources(linux?.resources),
      cgroupParent: linux?.cgroupParent ?? "",
      cgroupsPath: record.cgroupPath,
    },
    pid: record.end === undefined ? (record.pause?.pid ?? 0) : 0,
    ips: [...record.addresses],
  };
}

const STATES = {
  created: ContainerState.CONTAINER_CREATED,
  running: ContainerState.CONTAINER_RUNNING,
  exited: ContainerState.CONTAINER_STOPPED,
} as const;

/** A container as plugins are told of it; with `creation` one that is yet to become that. */
export function containerMessage(
  record: ContainerRecord,
  creation?: Creation,
): MessageInitShape<typeof ContainerSchema> {
  const { config, spec } = creation ?? { config: containerConfig(record), spec: specOf(record) };
  const { process, mounts, annotations } = spec;
  const state = containerState(record);
  const digest = record.imageReference.slice(record.imageReference.indexOf("@") + 1);
  return {
    id: record.id,
    podSandboxId: record.sandboxId,
    name: record.name,
    state: creation === undefined ? STATES[state] : ContainerState.CONTAINER_UNKNOWN,
    labels: config.labels,
    annotations: { ...annotations },
    args: [...process.args],
    env: [...process.env],
    mounts: mounts.map(({ destination, type, source, options }) => ({
      destination,
      type,
      source,
      options: [...options],
    })),
    linux: linuxMessage(config, spec),
    pid: state === "running" ? (record.process?.pid ?? 0) : 0,
    rlimits: (process.rlimits ?? []).map(({ type, soft, hard }) => ({
      type,
      soft: BigInt(soft),
      hard: BigInt(hard),
    })),
    createdAt: BigInt(record.createdAtNs),
    startedAt: BigInt(record.startedAtNs ?? 0),
    finishedAt: BigInt(record.finishedAtNs ?? 0),
    exitCode: record.exitCode ?? 0,
    statusReason: record.reason ?? "",
    statusMessage: record.message ?? "",
    CDIDevices: config.CDIDevices.map(({ name }) => ({ name })),
    user: {
      uid: process.user.uid,
      gid: process.user.gid,
      additionalGids: [...process.user.additionalGids],
    },
    image: { name: record.imageName, digest, configDigest: record.imageId },
  };
}

function linuxMessage(
  config: Creation["config"],
  { process, linux }: RuntimeSpec,
): MessageInitShape<typeof LinuxContainerSchema> {
  const { ioPriority, oomScoreAdj } = process;
  return {
    namespaces: linux.namespaces.map(({ type, path = "" }) => ({ type, path })),
    devices: linux.devices.map(({ path, type, major, minor, fileMode, uid, gid }) => ({
      path,
      type,
      major: BigInt(major),
      minor: BigInt(minor),
      fileMode: { value: fileMode },
      uid: { value: uid },
      gid: { value: gid },
    })),
    resources: nriResources(config.linux?.resources, linux.resources.pids?.limit),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj: { value: BigInt(oomScoreAdj) } }),
    cgroupsPath: linux.cgroupsPath,
    ...(ioPriority === undefined
      ? {}
      : { ioPriority: { class: IOPrioClass[ioPriority.class], priority: ioPriority.priority } }),
    sysctl: { ...linux.sysctl },
  };
}
