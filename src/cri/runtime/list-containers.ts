// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ListContainersRequest, ListContainersResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { selectContainers } from "../filter.ts";

/** Answered from memory: the kubelet asks every second. */
export function listContainers(
  runtime: Runtime,
  request: ListContainersRequest,
): MessageInitShape<typeof ListContainersResponseSchema> {
  return { containers: selectContainers(runtime, request.filter) };
}
