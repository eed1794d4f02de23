// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type DeletePodRequest,
  type DeletePodResponse,
  DeletePodResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";

export async function deletePod(keeper: Keeper, request: DeletePodRequest): Promise<DeletePodResponse> {
  await keeper.delete(request.namespace, request.name, request.graceSeconds);
  await keeper.sync();
  return create(DeletePodResponseSchema);
}
