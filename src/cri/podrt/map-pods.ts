// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { containerState } from "../../container/status.ts";
import {
  type MapPodsResponse,
  MapPodsResponseSchema,
  type MappedContainerSchema,
  type MappedPodSchema,
  type MappedProcessSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import { TimeSlice } from "../../lib/time-slice.ts";
import { identify, type ProcessIdentity } from "../../linux/process.ts";
import { namespacesOf } from "../../linux/process-namespaces.ts";
import type { ContainerRecord } from "../../state/containers.ts";
import { isReady, type SandboxRecord } from "../../state/sandboxes.ts";
import { newestFirst } from "../filter.ts";
import { isVisibleSandbox } from "../lookup.ts";

type Tables = Pick<Runtime, "sandboxes" | "containers" | "bootId">;
type Process = MessageInitShape<typeof MappedProcessSchema>;

/** The pods as the kernel has them now: nothing of it is what somebody asked for. */
export async function mapPods(runtime: Tables): Promise<MapPodsResponse> {
  const slice = new TimeSlice();
  const containers = Map.groupBy(
    runtime.containers.list().filter(({ created }) => created),
    ({ sandboxId }) => sandboxId,
  );
  const pods: MessageInitShape<typeof MappedPodSchema>[] = [];
  for (const sandbox of runtime.sandboxes
    .list()
    .filter(isVisibleSandbox)
    .toSorted((a, b) => newestFirst(b, a))) {
    const own = (containers.get(sandbox.id) ?? []).toSorted((a, b) => newestFirst(b, a));
    pods.push(podMessage(sandbox, own, sandbox.bootId === runtime.bootId));
    await slice.next();
  }
  const machine = processMessage(identify(process.pid));
  return create(MapPodsResponseSchema, { pods, ...(machine && { machine }) });
}

/** Numbers of an earlier boot are of processes that are gone, whoever may have them now. */
function podMessage(
  sandbox: SandboxRecord,
  containers: readonly ContainerRecord[],
  isOfThisBoot: boolean,
): MessageInitShape<typeof MappedPodSchema> {
  const { id, name, namespace, uid, attempt } = sandbox;
  const monitor = isOfThisBoot ? processMessage(sandbox.monitor) : undefined;
  const pause = isOfThisBoot ? processMessage(sandbox.pause) : undefined;
  return {
    sandboxId: id,
    name: { name, namespace, uid },
    attempt,
    ready: isReady(sandbox),
    addresses: isReady(sandbox) ? [...sandbox.addresses] : [],
    ...(monitor && { monitor }),
    ...(pause && { pause }),
    containers: containers.map((container) => containerMessage(container, isOfThisBoot)),
  };
}

function containerMessage(
  record: ContainerRecord,
  isOfThisBoot: boolean,
): MessageInitShape<typeof MappedContainerSchema> {
  const process = isOfThisBoot ? processMessage(record.process) : undefined;
  return {
    containerId: record.id,
    name: record.name,
    attempt: record.attempt,
    image: record.imageName,
    state: containerState(record),
    ...(process && { process }),
  };
}

function processMessage(identity: ProcessIdentity | undefined): Process | undefined {
  const namespaces = identity && namespacesOf(identity);
  if (namespaces === undefined) return undefined;
  return {
    pid: identity!.pid,
    namespaces: [...namespaces].map(([kind, inode]) => ({ kind, inode: BigInt(inode) })),
  };
}
