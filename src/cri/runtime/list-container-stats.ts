// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type {
  ListContainerStatsRequest,
  ListContainerStatsResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { selectContainerRecords } from "../filter.ts";

/** Containers in every state: of one that does not run there is only what it has written. */
export async function listContainerStats(
  runtime: Runtime,
  stats: Stats,
  request: ListContainerStatsRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ListContainerStatsResponseSchema>> {
  const records = selectContainerRecords(runtime, request.filter);
  return { stats: await Array.fromAsync(stats.containers(records, signal)) };
}
