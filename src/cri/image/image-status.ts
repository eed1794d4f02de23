// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ImageStatusRequest, ImageStatusResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { verboseInfo } from "../info.ts";
import { required } from "../validate-fields.ts";
import { imageItem } from "./image.ts";

/** An image that is not there is an answer without `image`, no error. */
export function imageStatus(
  runtime: Runtime,
  request: ImageStatusRequest,
): MessageInitShape<typeof ImageStatusResponseSchema> {
  const record = runtime.images.find(required("image", request.image).image);
  if (record === undefined) return {};
  return {
    image: imageItem(record),
    info: verboseInfo(request.verbose, "info", () => ({
      chainID: record.layers.at(-1)?.chainId ?? "",
      imageSpec: { config: record.config },
    })),
  };
}
