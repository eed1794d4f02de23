// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError } from "../../errors.ts";
import {
  SecurityProfile_ProfileType as ProfileType,
  type SecurityProfile,
} from "../../gen/runtime/v1/api_pb.ts";
import type { ExecLabel } from "../../launch/exec-label.ts";
import type { AppArmor } from "../../linux/apparmor.ts";
import { DEFAULT_PROFILE } from "./apparmor-default.ts";
import type { SecurityModules } from "./security-modules.ts";

/** The fields that a sandbox's and a container's security context have in common for this. */
interface AppArmorFields {
  readonly privileged: boolean;
  readonly apparmor?: SecurityProfile | undefined;
  /** The older field, of containers only: `runtime/default`, `unconfined`, `localhost/NAME` or empty. */
  readonly apparmorProfile?: string;
}

/**
 * The profile that a process gets; undefined for an unconfined one. FailedPrecondition where the machine cannot
 * do what is asked: no AppArmor, or a profile that is not loaded. `path` is the security context's.
 */
export function apparmorProfile(
  path: string,
  security: AppArmorFields | undefined,
  { apparmor, defaultAppArmorProfile }: SecurityModules,
): string | undefined {
  if (security?.privileged) return undefined;
  const choice = apparmorChoice(path, security);
  if (choice === "unconfined" || (choice === "unset" && !apparmor.isEnabled)) return undefined;
  if (choice === "unset") return defaultAppArmorProfile;
  const { field } = choice;
  if (!apparmor.isEnabled) {
    throw new FailedPreconditionError(
      `${field}: AppArmor is not enabled on this machine: ask for Unconfined or leave the field out`,
    );
  }
  if (choice.profile !== undefined) {
    if (apparmor.isLoaded(choice.profile)) return choice.profile;
    throw new FailedPreconditionError(
      `${field}: the AppArmor profile ${JSON.stringify(choice.profile)} is not loaded: load it with apparmor_parser`,
    );
  }
  if (defaultAppArmorProfile !== undefined) return defaultAppArmorProfile;
  throw new FailedPreconditionError(
    `${field}: the default AppArmor profile ${DEFAULT_PROFILE} is not loaded: install apparmor_parser and start podrt again`,
  );
}

/** `unset` takes the default where there is one; without a profile's name the default is asked for. */
type AppArmorChoice = "unset" | "unconfined" | { readonly field: string; readonly profile?: string };

function apparmorChoice(path: string, security: AppArmorFields | undefined): AppArmorChoice {
  const profile = security?.apparmor;
  if (profile === undefined) return legacyChoice(`${path}.apparmor_profile`, security?.apparmorProfile ?? "");
  const field = `${path}.apparmor`;
  switch (profile.profileType) {
    case ProfileType.RuntimeDefault:
      return { field };
    case ProfileType.Unconfined:
      return "unconfined";
    case ProfileType.Localhost:
      return { field, profile: profile.localhostRef.replace(/^localhost\//, "") };
    default:
      throw new InvalidArgumentError(`${field}.profile_type`, "is no profile type");
  }
}

function legacyChoice(field: string, value: string): AppArmorChoice {
  if (value === "") return "unset";
  if (value === "unconfined") return "unconfined";
  return value.startsWith("localhost/") ? { field, profile: value.slice("localhost/".length) } : { field };
}

/** How a launch asks for the profile. */
export function apparmorLabels(profile: string | undefined, apparmor: AppArmor): ExecLabel[] {
  if (profile === undefined) return [];
  const what = `apply the AppArmor profile ${profile}`;
  return [{ what, attribute: apparmor.execAttribute, text: `exec ${profile}` }];
}
