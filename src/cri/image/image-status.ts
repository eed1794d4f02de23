// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ImageStatusRequest, ImageStatusResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../../image/images.ts";
import { CONFIG_LIMIT_BYTES } from "../../oci/image-spec.ts";
import { verboseInfo } from "../info.ts";
import { required } from "../validate-fields.ts";
import { imageItem } from "./image.ts";

/** An image that is not there is an answer without `image`, no error. */
export async function imageStatus(
  runtime: Runtime,
  request: ImageStatusRequest,
): Promise<MessageInitShape<typeof ImageStatusResponseSchema>> {
  const record = runtime.images.find(required("image", request.image).image);
  if (record === undefined) return {};
  // A kubelet asks before it makes a container of an image.
  runtime.images.noteWanted(record.id);
  const image = imageItem(runtime, record);
  if (!request.verbose) return { image };
  const imageSpec = await readConfig(runtime, record);
  // Removed meanwhile.
  if (imageSpec === undefined) return {};
  const info = { chainID: record.layers.at(-1)?.chainId ?? "", imageSpec };
  return { image, info: verboseInfo(true, "info", () => info) };
}

/** The image's configuration (image-spec, config.md) as it was pulled: an image's id is its digest. */
async function readConfig(runtime: Runtime, { id }: ImageRecord): Promise<object | undefined> {
  try {
    const bytes = await runtime.content.read(id, CONFIG_LIMIT_BYTES);
    return JSON.parse(new TextDecoder().decode(bytes)) as object;
  } catch (error) {
    if (runtime.images.find(id) === undefined) return undefined;
    throw error;
  }
}
