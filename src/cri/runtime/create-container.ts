// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createContainer as create } from "../../container/create.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { CreateContainerRequest, CreateContainerResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { requireSandbox } from "../lookup.ts";
import { required } from "../validate-fields.ts";

/** The sandbox_config of the request is not used: the stored one is what the sandbox runs with. */
export async function createContainer(
  runtime: Runtime,
  request: CreateContainerRequest,
): Promise<MessageInitShape<typeof CreateContainerResponseSchema>> {
  const sandbox = requireSandbox(runtime, request.podSandboxId);
  const config = required("config", request.config);
  return { containerId: await create(runtime, sandbox.id, config) };
}
