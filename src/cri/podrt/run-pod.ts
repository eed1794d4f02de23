// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type RunPodRequest,
  type RunPodResponse,
  RunPodResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";
import { parseManifest } from "../../kube/manifest/parse.ts";

export async function runPod(keeper: Keeper, request: RunPodRequest): Promise<RunPodResponse> {
  const { pods, notes } = parseManifest(
    request.files.map(({ name, text }) => ({ name: name === "" ? "manifest" : name, text })),
  );
  keeper.run(pods);
  await keeper.sync();
  return create(RunPodResponseSchema, {
    pods: pods.map(({ namespace, name, uid }) => ({ namespace, name, uid })),
    notes: [...notes],
  });
}
