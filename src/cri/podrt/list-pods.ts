// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ContainerSchema,
  type ListPodsResponse,
  ListPodsResponseSchema,
  type PodSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";
import type { ContainerStatus, PodStatus } from "../../kube/pod-status.ts";

export function listPods(keeper: Keeper): ListPodsResponse {
  return create(ListPodsResponseSchema, { pods: keeper.list().map(podMessage) });
}

function podMessage(status: PodStatus): MessageInitShape<typeof PodSchema> {
  const { namespace, name, uid } = status.pod;
  return {
    name: { namespace, name, uid },
    phase: status.phase,
    reason: status.reason,
    message: status.message,
    sandboxId: status.sandboxId,
    sandboxAttempt: status.sandboxAttempt,
    addresses: [...status.addresses],
    createdAtNs: BigInt(status.createdAtNs),
    containers: status.containers.map(containerMessage),
    owner: status.pod.owner ?? "",
    permissions: [...(status.pod.permissions ?? [])],
    initContainers: status.initContainers.map(containerMessage),
    nextTryAtMs: wholeMs(status.nextTryAtMs),
    jobSucceeded: status.jobSucceeded,
    services: (status.pod.objects?.services ?? []).map(({ name, ports = [] }) => ({
      name,
      ports: ports.map((port) => ({ ...port, target: String(port.target) })),
    })),
  };
}

function containerMessage({
  nextTryAtMs,
  ...container
}: ContainerStatus): MessageInitShape<typeof ContainerSchema> {
  return { ...container, nextTryAtMs: wholeMs(nextTryAtMs) };
}

function wholeMs(ms: number): bigint {
  return BigInt(Math.ceil(ms));
}
