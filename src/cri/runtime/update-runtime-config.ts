// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { UpdateRuntimeConfigRequest } from "../../gen/runtime/v1/api_pb.ts";
import { cidrsOf } from "../validate-cidr.ts";

/** The subnets of this node's pods, as the cluster gave them out. No news is no error, however often it comes. */
export async function updateRuntimeConfig(
  runtime: Runtime,
  { runtimeConfig }: UpdateRuntimeConfigRequest,
): Promise<object> {
  const cidrs = cidrsOf(runtimeConfig?.networkConfig?.podCidr ?? "");
  if (cidrs.length > 0) await runtime.network.usePodCidrs(cidrs);
  return {};
}
