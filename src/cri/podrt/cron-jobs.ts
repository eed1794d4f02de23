// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type DeleteCronJobRequest,
  type DeleteCronJobResponse,
  DeleteCronJobResponseSchema,
  type ListCronJobsResponse,
  ListCronJobsResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";

export function listCronJobs({ cronJobs }: Keeper): ListCronJobsResponse {
  return create(ListCronJobsResponseSchema, {
    cronJobs: cronJobs.list().map(({ job: { pod, policy }, lastRunMs = 0, nextRunMs = 0, active }) => ({
      name: { namespace: pod.namespace, name: pod.name, uid: pod.uid },
      schedule: policy.schedule,
      timeZone: policy.timeZone ?? "",
      suspended: policy.suspend,
      lastRunNs: BigInt(lastRunMs) * 1_000_000n,
      nextRunNs: BigInt(nextRunMs) * 1_000_000n,
      active: [...active],
    })),
  });
}

export async function deleteCronJob(
  keeper: Keeper,
  { namespace, name }: DeleteCronJobRequest,
): Promise<DeleteCronJobResponse> {
  await keeper.cronJobs.delete(namespace, name);
  await keeper.sync();
  return create(DeleteCronJobResponseSchema);
}
