// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { AlreadyExistsError } from "../../errors.ts";
import {
  type RunPodRequest,
  type RunPodResponse,
  RunPodResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";
import { type ManifestFile, parseManifest } from "../../kube/manifest/parse.ts";
import { checkPermissions, isCovered, permittedPod } from "../../kube/permissions.ts";
import { type CronJob, podKey } from "../../kube/pod.ts";

export async function runPod(keeper: Keeper, request: RunPodRequest): Promise<RunPodResponse> {
  const { allow } = request;
  checkPermissions(allow, "allow");
  const parsed = parseManifest(filesOf(request));
  const notes = [...parsed.notes];
  const needs = parsed.needs.filter(({ permission }) => !isCovered(permission, allow));
  if (needs.length > 0) return create(RunPodResponseSchema, { notes, needs: [...needs] });
  const pods = parsed.pods.map((pod) => permittedPod(pod, allow));
  const cronJobs = parsed.cronJobs.map((job) => ({ ...job, pod: permittedPod(job.pod, allow) }));
  if (!request.apply) refuseKept(keeper, cronJobs);
  const applied = request.apply ? await keeper.apply(pods, parsed.workloads) : [];
  if (!request.apply) keeper.run(pods);
  const cronOutcomes = cronJobs.map((job) => keeper.cronJobs.apply(job));
  await keeper.sync();
  const kept = request.apply ? applied.map(({ pod }) => pod) : pods;
  return create(RunPodResponseSchema, {
    pods: kept.map(({ namespace, name, uid }) => ({ namespace, name, uid })),
    outcomes: applied.map(({ outcome }) => outcome),
    cronJobs: cronJobs.map(({ pod: { namespace, name, uid } }) => ({ namespace, name, uid })),
    cronOutcomes,
    notes,
  });
}

function filesOf({ files, manifest, fileName }: RunPodRequest): ManifestFile[] {
  const given = files.length > 0 ? files : [{ name: fileName, text: manifest }];
  return given.map(({ name, text }) => ({ name: name === "" ? "manifest" : name, text }));
}

function refuseKept(keeper: Keeper, cronJobs: readonly CronJob[]): void {
  const kept = new Set(keeper.cronJobs.list().map(({ job }) => podKey(job.pod)));
  const taken = cronJobs.find(({ pod }) => kept.has(podKey(pod)));
  if (taken === undefined) return;
  throw new AlreadyExistsError(
    `CronJob ${podKey(taken.pod)} exists; change it with \`podrt apply\`, or remove it first with \`podrt down\``,
  );
}
