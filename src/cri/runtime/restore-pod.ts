// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type OpenedCheckpoint, openCheckpoint } from "../../checkpoint/open-checkpoint.ts";
import { restorePod as restore } from "../../checkpoint/restore-pod.ts";
import type { Runtime } from "../../container/runtime.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type {
  ContainerConfig,
  RestorePodRequest,
  RestorePodResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import { required } from "../validate-fields.ts";

/** A checkpoint is anybody's bytes: what the pod and its containers are to be is the request's to say. */
export async function restorePod(
  runtime: Runtime,
  request: RestorePodRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof RestorePodResponseSchema>> {
  await using checkpoint = await openCheckpoint(runtime, request.checkpointPath, signal);
  const { sandboxId, containers } = await restore(
    runtime,
    checkpoint,
    {
      config: required("config", request.config),
      runtimeHandler: request.runtimeHandler,
      containerConfigs: inOrder(checkpoint, request.containerConfigs),
    },
    signal,
  );
  return { podSandboxId: sandboxId, restoredContainers: [...containers] };
}

/** The configurations in the order of the checkpoint, whose containers they must name exactly. */
function inOrder({ containers }: OpenedCheckpoint, configs: readonly ContainerConfig[]): ContainerConfig[] {
  const names = containers.map(({ name }) => name);
  const stranger = configs.findIndex(({ metadata }) => !names.includes(metadata?.name ?? ""));
  if (stranger >= 0) {
    throw new InvalidArgumentError(
      `container_configs[${stranger}].metadata.name`,
      `is no container of the checkpoint, which has ${names.join(", ")}`,
    );
  }
  return names.map((name) => {
    const config = configs.find(({ metadata }) => metadata?.name === name);
    if (config !== undefined) return config;
    throw new InvalidArgumentError("container_configs", `leaves out container ${name} of the checkpoint`);
  });
}
