// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ListImagesRequest, ListImagesResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { selectImages } from "./image.ts";

export function listImages(
  runtime: Runtime,
  request: ListImagesRequest,
): MessageInitShape<typeof ListImagesResponseSchema> {
  return { images: selectImages(runtime, request.filter) };
}
