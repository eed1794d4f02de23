// SPDX-License-Identifier: Apache-2.0
import { authFromText } from "../image/auth-file.ts";
import type { RegistryAuth } from "../image/registry-auth.ts";
import { parseReference } from "../oci/reference.ts";
import { NO_OBJECTS } from "./manifest/objects.ts";
import type { Pod } from "./pod.ts";

/** The credentials that the pod's imagePullSecrets have for an image; undefined where they have none. */
export function pullAuth({ spec, objects = NO_OBJECTS }: Pod, image: string): RegistryAuth | undefined {
  const { host, path } = parseReference(image);
  for (const { name } of spec.imagePullSecrets ?? []) {
    const { ".dockerconfigjson": present, ".dockercfg": former } = objects.secrets[name] ?? {};
    const text = present === undefined ? formerText(former) : decoded(present);
    if (text === undefined) continue;
    const auth = authFromText(text, `the imagePullSecret ${name}`, host, path);
    if (auth !== undefined) return auth;
  }
  return undefined;
}

/** The older form has the registries at the top. */
function formerText(base64: string | undefined): string | undefined {
  return base64 === undefined ? undefined : `{"auths":${decoded(base64)}}`;
}

function decoded(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}
