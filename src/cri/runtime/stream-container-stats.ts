// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import {
  ContainerStatsSchema,
  type StreamContainerStatsRequest,
  type StreamContainerStatsResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { collectBatches } from "../batches.ts";
import { selectContainerRecords } from "../filter.ts";

export async function* streamContainerStats(
  runtime: Runtime,
  stats: Stats,
  request: StreamContainerStatsRequest,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof StreamContainerStatsResponseSchema>> {
  const items = stats.containers(selectContainerRecords(runtime, request.filter), signal);
  for await (const containerStats of collectBatches(ContainerStatsSchema, items)) yield { containerStats };
}
