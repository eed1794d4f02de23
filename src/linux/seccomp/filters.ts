// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { release } from "node:os";
import { ARCHITECTURE } from "../architecture.ts";
import { compileSeccomp, seccompFlags } from "./compile.ts";
import { defaultSeccompProfile } from "./default-profile.ts";
import { parseSeccompProfile, type SeccompProfile } from "./profile.ts";

/** What the launch program hands to seccomp(SECCOMP_SET_MODE_FILTER). */
export interface SeccompFilter {
  /** struct sock_filter[]; shared by everybody who asks for the same filter, so never written to. */
  readonly instructions: Uint8Array;
  /** SECCOMP_FILTER_FLAG_ bits. */
  readonly flags: number;
}

const MAX_FILTERS = 64;

/** Compiled filters, least recently used first. */
const filters = new Map<string, SeccompFilter>();

/** The runtime's default for a container with these capabilities (names without CAP_). */
export function defaultSeccompFilter(capabilities: ReadonlySet<string>): SeccompFilter {
  return remembered("default", capabilities, () => defaultSeccompProfile(capabilities));
}

/** The filter of a profile given as JSON; `path` is where it came from, for messages only. */
export function seccompFilterFrom(
  text: string,
  path: string,
  capabilities: ReadonlySet<string>,
): SeccompFilter {
  const digest = createHash("sha256").update(text).digest("hex");
  return remembered(digest, capabilities, () =>
    parseSeccompProfile(text, path, { capabilities, kernelRelease: release(), architecture: ARCHITECTURE }),
  );
}

function remembered(
  name: string,
  capabilities: ReadonlySet<string>,
  profile: () => SeccompProfile,
): SeccompFilter {
  const key = [name, ...[...capabilities].sort()].join(" ");
  const filter = filters.get(key) ?? filterOf(profile());
  filters.delete(key);
  filters.set(key, filter);
  for (const oldest of filters.keys()) {
    if (filters.size <= MAX_FILTERS) break;
    filters.delete(oldest);
  }
  return filter;
}

function filterOf(profile: SeccompProfile): SeccompFilter {
  return { instructions: compileSeccomp(profile), flags: seccompFlags(profile) };
}
