// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type StopPodRequest,
  type StopPodResponse,
  StopPodResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";

export async function stopPod(keeper: Keeper, request: StopPodRequest): Promise<StopPodResponse> {
  await keeper.stop(request.namespace, request.name, request.graceSeconds);
  await keeper.sync();
  return create(StopPodResponseSchema);
}
