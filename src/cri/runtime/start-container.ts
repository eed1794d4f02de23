// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import { startContainer as start } from "../../container/start.ts";
import type { StartContainerRequest } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer } from "../lookup.ts";

export async function startContainer(runtime: Runtime, request: StartContainerRequest): Promise<object> {
  await start(runtime, requireContainer(runtime, request.containerId).id);
  return {};
}
