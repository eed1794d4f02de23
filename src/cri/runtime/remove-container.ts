// SPDX-License-Identifier: Apache-2.0
import { removeContainer as remove } from "../../container/remove.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { RemoveContainerRequest } from "../../gen/runtime/v1/api_pb.ts";
import { findContainer, ignoreNotFound } from "../lookup.ts";

/** Succeeds for a container that does not exist, and when repeated. */
export async function removeContainer(runtime: Runtime, request: RemoveContainerRequest): Promise<object> {
  const record = findContainer(runtime, request.containerId);
  if (record !== undefined) await ignoreNotFound(remove(runtime, record.id));
  return {};
}
