// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ListPodSandboxMetricsResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { selectSandboxRecords } from "../filter.ts";

export async function listPodSandboxMetrics(
  runtime: Runtime,
  stats: Stats,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ListPodSandboxMetricsResponseSchema>> {
  const records = selectSandboxRecords(runtime, undefined);
  return { podMetrics: await Array.fromAsync(stats.metrics(records, signal)) };
}
