// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { StreamImagesRequest, StreamImagesResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { inBatches } from "../batches.ts";
import { selectImages } from "./image.ts";

export async function* streamImages(
  runtime: Runtime,
  request: StreamImagesRequest,
): AsyncGenerator<MessageInitShape<typeof StreamImagesResponseSchema>> {
  for (const images of inBatches(selectImages(runtime, request.filter))) yield { images };
}
