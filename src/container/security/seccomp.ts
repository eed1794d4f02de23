// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { release } from "node:os";
import { FailedPreconditionError, InvalidArgumentError, messageOf } from "../../errors.ts";
import {
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
  type SecurityProfile,
} from "../../gen/runtime/v1/api_pb.ts";
import { ARCHITECTURE } from "../../linux/architecture.ts";
import { defaultSeccompProfile } from "../../linux/seccomp/default-profile.ts";
import { defaultSeccompFilter, type SeccompFilter, seccompFilterFrom } from "../../linux/seccomp/filters.ts";
import { parseSeccompProfile, type SeccompProfile } from "../../linux/seccomp/profile.ts";
import type { RuntimeSeccomp } from "../../oci/runtime-spec.ts";

const PROFILE_LIMIT_BYTES = 1024 * 1024;

/** What a container's system calls are filtered by, before the filter is compiled. */
export type SeccompChoice = "unconfined" | { readonly localhost: string } | "runtime/default";

/** The fields that a sandbox's and a container's security context have in common for this. */
type SeccompFields = Pick<LinuxContainerSecurityContext, "privileged" | "seccompProfilePath"> & {
  readonly seccomp?: SecurityProfile | undefined;
};

/** Reads the choice from the profile field, or from the older path field where that is absent. */
export function seccompChoice(security: SeccompFields | undefined): SeccompChoice {
  if (security === undefined) return "unconfined";
  const { seccomp: profile } = security;
  if (security.privileged) return "unconfined";
  if (profile === undefined) return legacyChoice(security.seccompProfilePath);
  switch (profile.profileType) {
    case ProfileType.RuntimeDefault:
      return "runtime/default";
    case ProfileType.Unconfined:
      return "unconfined";
    case ProfileType.Localhost:
      return { localhost: profile.localhostRef };
    default:
      throw new InvalidArgumentError(
        "config.linux.security_context.seccomp.profile_type",
        "is no profile type",
      );
  }
}

function legacyChoice(path: string): SeccompChoice {
  if (path === "" || path === "unconfined") return "unconfined";
  if (path === "runtime/default" || path === "docker/default") return "runtime/default";
  if (path.startsWith("localhost/")) return { localhost: path.slice("localhost/".length) };
  throw new InvalidArgumentError(
    "config.linux.security_context.seccomp_profile_path",
    `${JSON.stringify(path)} is not unconfined, runtime/default or localhost/PATH`,
  );
}

/** The text of a Localhost profile, as it is now; undefined for any other choice. */
export function readSeccompProfile(choice: SeccompChoice): RuntimeSeccomp | undefined {
  if (typeof choice === "string") return undefined;
  return { path: choice.localhost, text: readProfile(choice.localhost) };
}

/** The profile behind a choice, a Localhost one from `text`; undefined for an unconfined process. */
export function seccompProfile(
  choice: SeccompChoice,
  localhost: RuntimeSeccomp | undefined,
  capabilities: ReadonlySet<string>,
): SeccompProfile | undefined {
  if (choice === "unconfined") return undefined;
  if (choice === "runtime/default") return defaultSeccompProfile(capabilities);
  const { text, path } = localhost ?? { text: readProfile(choice.localhost), path: choice.localhost };
  return parseSeccompProfile(text, path, {
    capabilities,
    kernelRelease: release(),
    architecture: ARCHITECTURE,
  });
}

/** The same, compiled. */
export function seccompFilter(
  choice: SeccompChoice,
  localhost: RuntimeSeccomp | undefined,
  capabilities: ReadonlySet<string>,
): SeccompFilter | undefined {
  if (choice === "unconfined") return undefined;
  if (choice === "runtime/default") return defaultSeccompFilter(capabilities);
  const { text, path } = localhost ?? { text: readProfile(choice.localhost), path: choice.localhost };
  return seccompFilterFrom(text, path, capabilities);
}

/** What is at `path` may be anything: nothing that would wait, and no more than the limit, is read. */
function readProfile(path: string): string {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(file).isFile()) throw new Error("it is not a regular file");
    const bytes = Buffer.alloc(PROFILE_LIMIT_BYTES + 1);
    let length = 0;
    for (let count = -1; count !== 0 && length < bytes.length; length += count) {
      count = readSync(file, bytes, length, bytes.length - length, null);
    }
    if (length > PROFILE_LIMIT_BYTES) throw new Error(`it is larger than ${PROFILE_LIMIT_BYTES} bytes`);
    return bytes.toString("utf8", 0, length);
  } catch (error) {
    throw new FailedPreconditionError(`cannot read the seccomp profile ${path}: ${messageOf(error)}`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
