// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import { updateContainerResources as update } from "../../container/update.ts";
import type { UpdateContainerResourcesRequest } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer } from "../lookup.ts";

/** Annotations are for extensions of a runtime, of which podrt has none: they are checked and change nothing. */
export async function updateContainerResources(
  runtime: Runtime,
  request: UpdateContainerResourcesRequest,
): Promise<object> {
  const { id } = requireContainer(runtime, request.containerId);
  if (request.linux !== undefined) await update(runtime, id, request.linux);
  return {};
}
