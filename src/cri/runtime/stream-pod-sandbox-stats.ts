// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import {
  PodSandboxStatsSchema,
  type StreamPodSandboxStatsRequest,
  type StreamPodSandboxStatsResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { collectBatches } from "../batches.ts";
import { selectSandboxRecords } from "../filter.ts";

export async function* streamPodSandboxStats(
  runtime: Runtime,
  stats: Stats,
  request: StreamPodSandboxStatsRequest,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof StreamPodSandboxStatsResponseSchema>> {
  const items = stats.sandboxes(selectSandboxRecords(runtime, request.filter), signal);
  for await (const podSandboxStats of collectBatches(PodSandboxStatsSchema, items)) yield { podSandboxStats };
}
