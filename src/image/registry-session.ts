// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import type { Reference } from "../oci/reference.ts";
import { authFromFile } from "./auth-file.ts";
import { openSession, type RegistrySession } from "./registry.ts";
import type { RegistryAuth } from "./registry-auth.ts";
import { hostPlan } from "./registry-hosts.ts";

/** Opens a conversation about one repository with the servers that the configuration has for it. */
export function sessionFor(
  { registries, image }: Pick<Config, "registries" | "image">,
  reference: Reference,
  auth: RegistryAuth | undefined,
): RegistrySession {
  return openSession({
    reference,
    endpoints: hostPlan(reference.host, registries, image.certs_dir).endpoints,
    auth,
    configuredAuth: ({ host }) => authFromFile(image.auth_file, host, reference.path),
    stallTimeoutMs: image.stall_timeout_ms,
  });
}
