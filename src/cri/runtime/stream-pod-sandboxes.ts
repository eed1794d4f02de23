// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type {
  StreamPodSandboxesRequest,
  StreamPodSandboxesResponseSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import { inBatches } from "../batches.ts";
import { selectSandboxes } from "../filter.ts";

export async function* streamPodSandboxes(
  runtime: Runtime,
  request: StreamPodSandboxesRequest,
): AsyncGenerator<MessageInitShape<typeof StreamPodSandboxesResponseSchema>> {
  for (const podSandboxes of inBatches(selectSandboxes(runtime, request.filter))) yield { podSandboxes };
}
