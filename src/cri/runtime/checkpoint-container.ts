// SPDX-License-Identifier: Apache-2.0
import { checkpointContainer as checkpoint } from "../../checkpoint/checkpoint-container.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { CheckpointContainerRequest } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer } from "../lookup.ts";
import { timeoutMs } from "../timeout.ts";

export async function checkpointContainer(
  runtime: Runtime,
  request: CheckpointContainerRequest,
  signal: AbortSignal,
): Promise<object> {
  const { id } = requireContainer(runtime, request.containerId);
  const { location } = request;
  await checkpoint(runtime, id, { location, timeoutMs: timeoutMs(request.timeout) }, signal);
  return {};
}
