// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import type {
  ContainerStats,
  MetricDescriptorSchema,
  PodSandboxMetrics,
  PodSandboxStats,
} from "../gen/runtime/v1/api_pb.ts";
import { TimeSlice } from "../lib/time-slice.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { containerStats } from "./container-stats.ts";
import { openInstruments } from "./instruments.ts";
import { openCatalogue } from "./metrics/catalogue.ts";
import { type Pod, podsOf } from "./pods.ts";
import { sandboxMetrics } from "./sandbox-metrics.ts";
import { sandboxStats } from "./sandbox-stats.ts";
import { Patience } from "./writable-layers.ts";

/**
 * What pods and containers use. It is read when somebody asks, never by a timer of its own; the event loop gets
 * turns in between, and what ends meanwhile is left out.
 */
export interface Stats {
  /** The same every time. */
  readonly metricDescriptors: readonly MessageInitShape<typeof MetricDescriptorSchema>[];
  container(record: ContainerRecord): Promise<ContainerStats>;
  containers(records: readonly ContainerRecord[], signal: AbortSignal): AsyncGenerator<ContainerStats>;
  /** FailedPreconditionError when the sandbox is not ready, NotFoundError when it ends meanwhile. */
  sandbox(record: SandboxRecord): Promise<PodSandboxStats>;
  /** Of those that are ready. */
  sandboxes(records: readonly SandboxRecord[], signal: AbortSignal): AsyncGenerator<PodSandboxStats>;
  /** The metrics of those that are ready. */
  metrics(records: readonly SandboxRecord[], signal: AbortSignal): AsyncGenerator<PodSandboxMetrics>;
}

export function openStats(runtime: Runtime): Stats {
  const instruments = openInstruments(runtime);
  const catalogue = openCatalogue(runtime.cgroups, instruments.hasPressure);
  runtime.events.subscribe(({ type, containerId }) => {
    if (type === "stopped" || type === "deleted") instruments.forget(containerId);
  });
  const isThere = (id: string) =>
    runtime.containers.get(id) !== undefined || runtime.sandboxes.get(id) !== undefined;

  /** One after the other; what is not there any more is left out. */
  async function* each<T, R>(
    items: readonly T[],
    signal: AbortSignal,
    measure: (item: T, patience: Patience) => Promise<R>,
  ): AsyncGenerator<R> {
    const slice = new TimeSlice();
    const patience = new Patience();
    instruments.keepOpen();
    instruments.forgetAllBut(isThere);
    for (const item of items) {
      await slice.next(signal);
      const measured = await measure(item, patience).catch((error: unknown) => {
        if (error instanceof NotFoundError) return undefined;
        throw error;
      });
      if (measured !== undefined) yield measured;
    }
  }

  return {
    metricDescriptors: catalogue.descriptors,
    container(record) {
      instruments.keepOpen();
      return containerStats(instruments, record, new Patience());
    },
    containers: (records, signal) =>
      each(records, signal, async ({ id }, patience) => {
        const record = runtime.containers.get(id);
        if (record === undefined) throw new NotFoundError(`container ${id} was removed`);
        return containerStats(instruments, record, patience);
      }),
    async sandbox(record) {
      instruments.keepOpen();
      const [pod] = podsOf(runtime, [record]);
      if (pod !== undefined) return sandboxStats(instruments, pod, new Patience());
      throw new FailedPreconditionError(`sandbox ${record.id} is not ready, so there is nothing to measure`);
    },
    sandboxes: (records, signal) =>
      each(podsOf(runtime, records), signal, (pod: Pod, patience) =>
        sandboxStats(instruments, pod, patience),
      ),
    metrics: (records, signal) =>
      each(podsOf(runtime, records), signal, (pod: Pod, patience) =>
        sandboxMetrics(instruments, catalogue, pod, patience),
      ),
  };
}
