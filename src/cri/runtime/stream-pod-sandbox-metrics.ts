// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import {
  PodSandboxMetricsSchema,
  type StreamPodSandboxMetricsResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { collectBatches } from "../batches.ts";
import { selectSandboxRecords } from "../filter.ts";

export async function* streamPodSandboxMetrics(
  runtime: Runtime,
  stats: Stats,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof StreamPodSandboxMetricsResponseSchema>> {
  const items = stats.metrics(selectSandboxRecords(runtime, undefined), signal);
  for await (const podSandboxMetrics of collectBatches(PodSandboxMetricsSchema, items)) {
    yield { podSandboxMetrics };
  }
}
