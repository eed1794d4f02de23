// SPDX-License-Identifier: Apache-2.0
import type { HandlerContext } from "@connectrpc/connect";
import { checkpointPod as checkpoint } from "../../checkpoint/checkpoint-pod.ts";
import type { Runtime } from "../../container/runtime.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { CheckpointPodRequest } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer, requireSandbox } from "../lookup.ts";

export async function checkpointPod(
  runtime: Runtime,
  request: CheckpointPodRequest,
  { signal, timeoutMs }: Pick<HandlerContext, "signal" | "timeoutMs">,
): Promise<object> {
  if (timeoutMs() === undefined) {
    throw new InvalidArgumentError(
      "",
      "CheckpointPod stops the pod's containers while it works: set a deadline",
    );
  }
  const { id } = requireSandbox(runtime, request.podSandboxId);
  const containerIds = request.containerIds.map((containerId) => requireContainer(runtime, containerId).id);
  const repeated = containerIds.findIndex((containerId, index) => containerIds.indexOf(containerId) < index);
  if (repeated >= 0) {
    throw new InvalidArgumentError(
      `container_ids[${repeated}]`,
      "names a container that another entry names too",
    );
  }
  await checkpoint(runtime, id, { outputPath: request.outputPath, containerIds }, signal);
  return {};
}
