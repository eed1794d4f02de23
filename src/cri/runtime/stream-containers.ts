// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { StreamContainersRequest, StreamContainersResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { inBatches } from "../batches.ts";
import { selectContainers } from "../filter.ts";

export async function* streamContainers(
  runtime: Runtime,
  request: StreamContainersRequest,
): AsyncGenerator<MessageInitShape<typeof StreamContainersResponseSchema>> {
  for (const containers of inBatches(selectContainers(runtime, request.filter))) yield { containers };
}
