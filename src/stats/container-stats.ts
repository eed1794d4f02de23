// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { containerItem, containerState } from "../container/status.ts";
import { NotFoundError } from "../errors.ts";
import { type ContainerStats, ContainerStatsSchema } from "../gen/runtime/v1/api_pb.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { CgroupSample } from "./cgroup-samples.ts";
import type { Instruments } from "./instruments.ts";
import { cpuUsage, ioUsage, layerUsage, memoryUsage, swapUsage } from "./messages.ts";
import type { Patience } from "./writable-layers.ts";

/** What a container uses; one that does not run has written something at most. */
export async function containerStats(
  instruments: Instruments,
  record: ContainerRecord,
  patience: Patience,
): Promise<ContainerStats> {
  const { labels, annotations } = containerItem(record);
  const sample = sampleOf(instruments, record);
  const layer = await instruments.layers.usage(record.id, patience);
  return create(ContainerStatsSchema, {
    attributes: {
      id: record.id,
      metadata: { name: record.name, attempt: record.attempt },
      labels,
      annotations,
    },
    ...(sample === undefined
      ? {}
      : {
          cpu: cpuUsage(sample),
          memory: memoryUsage(sample),
          swap: swapUsage(sample),
          io: ioUsage(sample),
        }),
    ...(layer === undefined ? {} : { writableLayer: layerUsage(layer, instruments.mountpoint) }),
  });
}

/** Undefined when it does not run, or ends right now. */
function sampleOf(instruments: Instruments, record: ContainerRecord): CgroupSample | undefined {
  if (containerState(record) !== "running") return undefined;
  try {
    return instruments.cgroups.sample(record.id, record.cgroupPath);
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}
