// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { RemoveImageRequest } from "../../gen/runtime/v1/api_pb.ts";
import { ignoreNotFound } from "../lookup.ts";
import { required } from "../validate-fields.ts";

/** Removes the image with all its tags and digests; succeeds for one that does not exist. */
export async function removeImage(runtime: Runtime, request: RemoveImageRequest): Promise<object> {
  await ignoreNotFound(runtime.images.remove(required("image", request.image).image));
  return {};
}
