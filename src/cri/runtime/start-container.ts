// SPDX-License-Identifier: Apache-2.0
import { startRestored } from "../../checkpoint/start-restored.ts";
import type { Runtime } from "../../container/runtime.ts";
import { startContainer as start } from "../../container/start.ts";
import type { StartContainerRequest } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer } from "../lookup.ts";

export async function startContainer(runtime: Runtime, request: StartContainerRequest): Promise<object> {
  const { id, restore } = requireContainer(runtime, request.containerId);
  await (restore === undefined ? start : startRestored)(runtime, id);
  return {};
}
