// SPDX-License-Identifier: Apache-2.0
import { reopenLog } from "../../container/log-reopen.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { ReopenContainerLogRequest } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer } from "../lookup.ts";

export async function reopenContainerLog(
  runtime: Runtime,
  request: ReopenContainerLogRequest,
): Promise<object> {
  await reopenLog(runtime, requireContainer(runtime, request.containerId).id);
  return {};
}
