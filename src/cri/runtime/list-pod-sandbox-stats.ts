// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type {
  ListPodSandboxStatsRequest,
  ListPodSandboxStatsResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { selectSandboxRecords } from "../filter.ts";

export async function listPodSandboxStats(
  runtime: Runtime,
  stats: Stats,
  request: ListPodSandboxStatsRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ListPodSandboxStatsResponseSchema>> {
  const records = selectSandboxRecords(runtime, request.filter);
  return { stats: await Array.fromAsync(stats.sandboxes(records, signal)) };
}
