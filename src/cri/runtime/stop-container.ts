// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import { stopContainer as stop } from "../../container/stop.ts";
import type { StopContainerRequest } from "../../gen/runtime/v1/api_pb.ts";
import { findContainer, ignoreNotFound } from "../lookup.ts";
import { timeoutMs } from "../timeout.ts";

/** Succeeds for a container that does not exist, and when repeated. A negative timeout means 0. */
export async function stopContainer(runtime: Runtime, request: StopContainerRequest): Promise<object> {
  const record = findContainer(runtime, request.containerId);
  if (record !== undefined) {
    await ignoreNotFound(stop(runtime, record.id, timeoutMs(request.timeout)));
  }
  return {};
}
