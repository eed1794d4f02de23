// SPDX-License-Identifier: Apache-2.0
import type { Outcome } from "./report.ts";

/** What a machine has that cases of the suite need. */
export interface Machine {
  readonly hasAppArmor: boolean;
}

/** Cases that do not pass, and why the machine, not podrt, is the reason. */
export interface KnownFailure {
  /** Matches the names of the cases. */
  readonly cases: RegExp;
  readonly outcome: Exclude<Outcome, "passed">;
  readonly reason: string;
  /** Whether the reason holds on this machine; where it does not, the cases must pass. */
  readonly holds: (machine: Machine) => boolean;
}

/** Every case that is not named here must pass; a case that is named here and passes fails the run. */
export const knownFailures: readonly KnownFailure[] = [
  {
    cases: /^AppArmor \//,
    outcome: "skipped",
    reason: "the kernel has no AppArmor (/sys/module/apparmor/parameters/enabled is not Y)",
    holds: ({ hasAppArmor }) => !hasAppArmor,
  },
];
