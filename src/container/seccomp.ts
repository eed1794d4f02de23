// SPDX-License-Identifier: Apache-2.0
import { readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { FailedPreconditionError, InvalidArgumentError, messageOf } from "../errors.ts";
import {
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
  type SecurityProfile,
} from "../gen/runtime/v1/api_pb.ts";
import { defaultSeccompProfile } from "../linux/seccomp/default-profile.ts";
import { defaultSeccompFilter, type SeccompFilter, seccompFilterFrom } from "../linux/seccomp/filters.ts";
import { parseSeccompProfile, type SeccompProfile } from "../linux/seccomp/profile.ts";

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

/** The profile behind a choice; undefined for an unconfined process. */
export function loadSeccompProfile(
  choice: SeccompChoice,
  capabilities: ReadonlySet<string>,
): SeccompProfile | undefined {
  if (choice === "unconfined") return undefined;
  if (choice === "runtime/default") return defaultSeccompProfile(capabilities);
  const text = readProfile(choice.localhost);
  return parseSeccompProfile(text, choice.localhost, { capabilities, kernelRelease: release() });
}

function readProfile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > PROFILE_LIMIT_BYTES) throw new Error(`it is larger than ${PROFILE_LIMIT_BYTES} bytes`);
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new FailedPreconditionError(`cannot read the seccomp profile ${path}: ${messageOf(error)}`);
  }
}

/** The compiled filter behind a choice; undefined for an unconfined process. */
export function seccompFilter(
  choice: SeccompChoice,
  capabilities: ReadonlySet<string>,
): SeccompFilter | undefined {
  if (choice === "unconfined") return undefined;
  if (choice === "runtime/default") return defaultSeccompFilter(capabilities);
  return seccompFilterFrom(readProfile(choice.localhost), choice.localhost, capabilities);
}
