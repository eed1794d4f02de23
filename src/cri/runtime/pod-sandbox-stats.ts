// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { PodSandboxStatsRequest, PodSandboxStatsResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";
import { requireSandbox } from "../lookup.ts";

export async function podSandboxStats(
  runtime: Runtime,
  stats: Stats,
  request: PodSandboxStatsRequest,
): Promise<MessageInitShape<typeof PodSandboxStatsResponseSchema>> {
  return { stats: await stats.sandbox(requireSandbox(runtime, request.podSandboxId)) };
}
