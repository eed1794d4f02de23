// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type RunPodRequest,
  type RunPodResponse,
  RunPodResponseSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";
import { parseManifest } from "../../kube/manifest/parse.ts";
import { checkPermissions, isCovered, permittedPod } from "../../kube/permissions.ts";

export async function runPod(keeper: Keeper, request: RunPodRequest): Promise<RunPodResponse> {
  const { allow } = request;
  checkPermissions(allow, "allow");
  const parsed = parseManifest(
    request.files.map(({ name, text }) => ({ name: name === "" ? "manifest" : name, text })),
  );
  const notes = [...parsed.notes];
  const needs = parsed.needs.filter(({ permission }) => !isCovered(permission, allow));
  if (needs.length > 0) return create(RunPodResponseSchema, { notes, needs: [...needs] });
  const pods = parsed.pods.map((pod) => permittedPod(pod, allow));
  const applied = request.apply ? await keeper.apply(pods) : [];
  if (!request.apply) keeper.run(pods);
  await keeper.sync();
  const kept = request.apply ? applied.map(({ pod }) => pod) : pods;
  return create(RunPodResponseSchema, {
    pods: kept.map(({ namespace, name, uid }) => ({ namespace, name, uid })),
    outcomes: applied.map(({ outcome }) => outcome),
    notes,
  });
}
