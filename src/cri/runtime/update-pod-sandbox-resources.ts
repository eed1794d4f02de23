// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { UpdatePodSandboxResourcesRequest } from "../../gen/runtime/v1/api_pb.ts";
import { updateSandboxResources } from "../../sandbox/update.ts";
import { requireSandbox } from "../lookup.ts";

export async function updatePodSandboxResources(
  runtime: Runtime,
  { podSandboxId, resources, overhead }: UpdatePodSandboxResourcesRequest,
): Promise<object> {
  await updateSandboxResources(runtime, requireSandbox(runtime, podSandboxId).id, { resources, overhead });
  return {};
}
