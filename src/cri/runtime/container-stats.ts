// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ContainerStatsRequest, ContainerStatsResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { requireContainer } from "../lookup.ts";

export async function containerStats(
  runtime: Runtime,
  stats: Stats,
  request: ContainerStatsRequest,
): Promise<MessageInitShape<typeof ContainerStatsResponseSchema>> {
  return { stats: await stats.container(requireContainer(runtime, request.containerId)) };
}
