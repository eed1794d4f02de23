// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { type ExplainPiece, ExplainPieceSchema, type ExplainRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { explainPod } from "../../kube/explain/explain-pod.ts";
import { askRegistries, NOBODY_ASKED } from "../../kube/explain/registry-answers.ts";
import { podHome } from "../../kube/keeper.ts";
import { parseManifest } from "../../kube/manifest/parse.ts";
import { checkPermissions, isCovered, permittedPod } from "../../kube/permissions.ts";
import { TimeSlice } from "../../lib/time-slice.ts";
import { piecesOf } from "./pieces.ts";

/** Of a manifest of replicas, so many are enough to see what would be done. */
const MAX_PODS = 20;

export async function* explain(
  runtime: Runtime,
  request: ExplainRequest,
  signal: AbortSignal,
): AsyncGenerator<ExplainPiece> {
  const { allow } = request;
  checkPermissions(allow, "allow");
  const parsed = parseManifest(
    request.files.map(({ name, text }) => ({ name: name === "" ? "manifest" : name, text })),
  );
  const home = podHome(runtime);
  const slice = new TimeSlice();
  // What is not allowed is shown as if it were: whoever asks sees what they would allow.
  const shown = parsed.pods
    .slice(0, MAX_PODS)
    .map((pod) => permittedPod(pod, allow.length === 0 ? ["all"] : allow));
  const answers = request.offline ? NOBODY_ASKED : await askRegistries(runtime, shown, signal);
  const pods: object[] = [];
  for (const pod of shown) {
    pods.push(explainPod(runtime, pod, home, answers));
    await slice.next();
  }
  const document = {
    notes: parsed.notes,
    needs: parsed.needs.map((need) => ({ ...need, isAllowed: isCovered(need.permission, allow) })),
    pods,
    podsLeftOut: Math.max(0, parsed.pods.length - MAX_PODS),
  };
  for (const text of piecesOf(JSON.stringify(document))) yield create(ExplainPieceSchema, { text });
}
