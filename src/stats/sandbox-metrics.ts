// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { nowNs } from "../container/runtime.ts";
import { NotFoundError } from "../errors.ts";
import {
  type ContainerMetrics,
  ContainerMetricsSchema,
  type PodSandboxMetrics,
  PodSandboxMetricsSchema,
} from "../gen/runtime/v1/api_pb.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import type { Aged } from "./aged-cache.ts";
import type { Instruments } from "./instruments.ts";
import type { Catalogue } from "./metrics/catalogue.ts";
import { metricsOf } from "./metrics/family.ts";
import { type ContainerReadings, type Read, seconds } from "./metrics/readings.ts";
import type { Pod } from "./pods.ts";
import { hasOwnNetwork } from "./sandbox-stats.ts";
import type { Patience } from "./writable-layers.ts";

/** How cAdvisor names what belongs to no container of the pod. */
const POD_CONTAINER = "POD";

/** The metrics of a pod: its network's, and those of each running container. NotFoundError when it has ended. */
export async function sandboxMetrics(
  instruments: Instruments,
  catalogue: Catalogue,
  { sandbox, running }: Pod,
  patience: Patience,
): Promise<PodSandboxMetrics> {
  const network = hasOwnNetwork(sandbox) ? read(instruments.interfaces(sandbox)) : undefined;
  const labels = { ...podLabels(sandbox), container: POD_CONTAINER, id: sandbox.id, image: "" };
  const metrics = network === undefined ? [] : metricsOf(catalogue.network, network, labels);
  const containerMetrics: ContainerMetrics[] = [];
  for (const record of running) {
    const readings = await readingsOf(instruments, record, patience);
    if (readings === undefined) continue;
    const { id, name, imageName } = record;
    const base = { ...podLabels(sandbox), container: name, id, image: imageName };
    containerMetrics.push(
      create(ContainerMetricsSchema, {
        containerId: id,
        metrics: metricsOf(catalogue.container, readings, base),
      }),
    );
  }
  return create(PodSandboxMetricsSchema, { podSandboxId: sandbox.id, metrics, containerMetrics });
}

function podLabels({ namespace, name }: SandboxRecord) {
  return { namespace, pod: name };
}

/** Undefined when the container ends meanwhile. */
async function readingsOf(
  { cgroups, layers, ...instruments }: Instruments,
  record: ContainerRecord,
  patience: Patience,
): Promise<ContainerReadings | undefined> {
  const { id, cgroupPath } = record;
  try {
    const layer = await layers.usage(id, patience);
    const openFiles = await instruments.openFiles(record);
    return {
      cgroup: read(cgroups.details(id, cgroupPath)),
      pressures: cgroups.pressures(id, cgroupPath),
      processes: read(cgroups.processes(id, cgroupPath)),
      openFiles: read(openFiles),
      softLimits: instruments.softLimits(record),
      filesystem: await instruments.filesystem(),
      layer,
      startedAtSeconds: seconds(BigInt(record.startedAtNs ?? 0)) ?? 0n,
      seenAtSeconds: seconds(BigInt(nowNs())) ?? 0n,
    };
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

function read<T>({ value, atNs, isNew }: Aged<T>): Read<T> {
  return { value, atNs: isNew ? undefined : atNs };
}
