// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type ListVolumesResponse,
  ListVolumesResponseSchema,
  type RemoveVolumeRequest,
  type RemoveVolumeResponse,
  RemoveVolumeResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";

export function listVolumes(keeper: Keeper): ListVolumesResponse {
  const volumes = keeper.volumes().map(({ createdAtMs, pods, ...claim }) => ({
    ...claim,
    createdAtNs: BigInt(Math.trunc(createdAtMs)) * 1_000_000n,
    pods: [...pods],
  }));
  return create(ListVolumesResponseSchema, { volumes });
}

export async function removeVolume(
  keeper: Keeper,
  request: RemoveVolumeRequest,
): Promise<RemoveVolumeResponse> {
  await keeper.removeVolume(request.namespace, request.name);
  return create(RemoveVolumeResponseSchema);
}
