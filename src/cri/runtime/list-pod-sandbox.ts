// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ListPodSandboxRequest, ListPodSandboxResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { selectSandboxes } from "../filter.ts";

/** Answered from memory: the kubelet asks every second. */
export function listPodSandbox(
  runtime: Runtime,
  request: ListPodSandboxRequest,
): MessageInitShape<typeof ListPodSandboxResponseSchema> {
  return { items: selectSandboxes(runtime, request.filter) };
}
