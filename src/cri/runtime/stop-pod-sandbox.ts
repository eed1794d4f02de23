// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { StopPodSandboxRequest } from "../../gen/runtime/v1/api_pb.ts";
import { stopSandbox } from "../../sandbox/stop.ts";
import { findSandbox, ignoreNotFound } from "../lookup.ts";

/** Succeeds for a sandbox that does not exist, and when repeated. */
export async function stopPodSandbox(runtime: Runtime, request: StopPodSandboxRequest): Promise<object> {
  const record = findSandbox(runtime, request.podSandboxId);
  if (record !== undefined) await ignoreNotFound(stopSandbox(runtime, record.id));
  return {};
}
