// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { sandboxConfig } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { podIdMappings } from "../container/user-namespace.ts";
import {
  NamespaceMode,
  NamespaceOptionSchema,
  type PodSandbox,
  PodSandboxSchema,
  PodSandboxState,
  type PodSandboxStatus,
  PodSandboxStatusSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { BUILT_IN_PAUSE } from "../image/built-in-pause.ts";
import { oncePer } from "../lib/once-per.ts";
import { podDir } from "../paths.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import { timingsOf } from "../telemetry/stopwatch.ts";

/** Ready from the end of RunPodSandbox until the pause ends or somebody stops it; derived, never stored. */
function stateOf(record: SandboxRecord): PodSandboxState {
  return isReady(record) ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
}

function metadataOf(record: SandboxRecord) {
  const { name, uid, namespace, attempt } = record;
  return { name, uid, namespace, attempt };
}

/** A sandbox as ListPodSandbox shows it; the same object for the same record, not to be changed. */
// Records are replaced when something changes, and lists are asked for every second.
export const sandboxItem: (record: SandboxRecord) => PodSandbox = oncePer(newItem);

function newItem(record: SandboxRecord): PodSandbox {
  const config = sandboxConfig(record);
  return create(PodSandboxSchema, {
    id: record.id,
    metadata: metadataOf(record),
    state: stateOf(record),
    createdAt: BigInt(record.createdAtNs),
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: record.runtimeHandler,
  });
}

/** A sandbox as PodSandboxStatus shows it; it has addresses only while it is ready. */
export function sandboxStatus(record: SandboxRecord): PodSandboxStatus {
  const config = sandboxConfig(record);
  const [ip = "", ...additional] = isReady(record) ? record.addresses : [];
  return create(PodSandboxStatusSchema, {
    id: record.id,
    metadata: metadataOf(record),
    state: stateOf(record),
    createdAt: BigInt(record.createdAtNs),
    network: { ip, additionalIps: additional.map((address) => ({ ip: address })) },
    linux: {
      namespaces: {
        options: config.linux?.securityContext?.namespaceOptions ?? create(NamespaceOptionSchema),
      },
    },
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: record.runtimeHandler,
  });
}

/** What verbose status tells besides: the object behind the key `info`. */
export function sandboxInfo(runtime: Runtime, record: SandboxRecord): object {
  const { linux } = record.config.value as { linux?: { overhead?: object; resources?: object } };
  const dir = podDir(runtime.paths, record.id);
  return {
    pid: isReady(record) ? (record.pause?.pid ?? 0) : 0,
    monitorPid: record.monitor?.pid ?? 0,
    processStatus: isReady(record) ? "running" : "stopped",
    reason: record.end?.reason ?? "",
    netNamespacePath: record.networkAttached ? join(dir, "netns") : "",
    netNamespaceClosed: !record.networkAttached,
    addresses: record.addresses,
    cniResult: runtime.network.resultOf(record.id) ?? {},
    cgroupPath: record.cgroupPath,
    image: record.image?.name ?? BUILT_IN_PAUSE,
    runtimeType: "podrt",
    runtimeHandler: record.runtimeHandler,
    sandboxMetadata: metadataOf(record),
    overhead: linux?.overhead ?? {},
    resources: linux?.resources ?? {},
    config: record.config.value,
    runtimeSpec: namespaceSpec(record, join(dir, "netns")),
    timings: timingsOf(record.id),
  };
}

/** Where the pod's namespaces are found, in the form in which other runtimes' tools look for it. */
function namespaceSpec(record: SandboxRecord, netnsPath: string): object {
  const { hostname, linux } = sandboxConfig(record);
  const options = linux?.securityContext?.namespaceOptions;
  const ofPause = (type: string, file: string) => ({
    type,
    path: `/proc/${record.pause?.pid ?? 0}/ns/${file}`,
  });
  const hasNetwork = options?.network !== NamespaceMode.NODE;
  const mappings = podIdMappings(sandboxConfig(record));
  const namespaces = [
    ...(mappings === undefined ? [] : [ofPause("user", "user")]),
    ...(hasNetwork ? [{ type: "network", path: netnsPath }, ofPause("uts", "uts")] : []),
    ...(options?.ipc === NamespaceMode.NODE ? [] : [ofPause("ipc", "ipc")]),
    ...(options?.pid === NamespaceMode.NODE ? [] : [ofPause("pid", "pid")]),
    ofPause("mount", "mnt"),
  ];
  const ids = mappings && { uidMappings: mappings.uids, gidMappings: mappings.gids };
  return { ociVersion: "1.2.0", hostname, linux: { namespaces, ...ids, cgroupsPath: record.cgroupPath } };
}
