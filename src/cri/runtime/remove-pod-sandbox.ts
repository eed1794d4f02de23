// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { RemovePodSandboxRequest } from "../../gen/runtime/v1/api_pb.ts";
import { removeSandbox } from "../../sandbox/remove.ts";
import { findSandbox, ignoreNotFound } from "../lookup.ts";

/** Succeeds for a sandbox that does not exist, and when repeated. */
export async function removePodSandbox(runtime: Runtime, request: RemovePodSandboxRequest): Promise<object> {
  const record = findSandbox(runtime, request.podSandboxId);
  if (record !== undefined) await ignoreNotFound(removeSandbox(runtime, record.id));
  return {};
}
