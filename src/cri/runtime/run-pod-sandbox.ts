// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { RunPodSandboxRequest, RunPodSandboxResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { runSandbox } from "../../sandbox/run.ts";
import { required } from "../validate-fields.ts";

export async function runPodSandbox(
  runtime: Runtime,
  request: RunPodSandboxRequest,
): Promise<MessageInitShape<typeof RunPodSandboxResponseSchema>> {
  const config = required("config", request.config);
  return { podSandboxId: await runSandbox(runtime, config, request.runtimeHandler) };
}
