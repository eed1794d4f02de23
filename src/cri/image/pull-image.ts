// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { PodrtError } from "../../errors.ts";
import type { AuthConfig, PullImageRequest, PullImageResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { RegistryAuth } from "../../image/registry-auth.ts";
import { parseReference } from "../../oci/reference.ts";
import { registryUnavailable } from "../errors.ts";
import { required } from "../validate-fields.ts";

/** Goes on while the caller waits; the answer is the image's id. */
export async function pullImage(
  runtime: Runtime,
  request: PullImageRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof PullImageResponseSchema>> {
  const { image } = required("image", request.image);
  // Checked here too, for the field's name in the error.
  parseReference(image, "image.image");
  const auth = request.auth === undefined ? {} : { auth: registryAuth(request.auth) };
  try {
    const { id } = await runtime.images.pull(image, { ...auth, signal });
    return { imageRef: id };
  } catch (error) {
    throw error instanceof PodrtError && error.kind === "Unavailable" ? registryUnavailable(error) : error;
  }
}

function registryAuth(auth: AuthConfig): RegistryAuth {
  const { username, password, serverAddress, identityToken, registryToken } = auth;
  return { username, password, auth: auth.auth, serverAddress, identityToken, registryToken };
}
