// SPDX-License-Identifier: Apache-2.0

/** Exit codes as rules of a Job's podFailurePolicy and of a container's restartPolicyRules name them. */
export interface ExitCodeRequirement {
  readonly operator: "In" | "NotIn";
  readonly values?: readonly number[];
}

export function matchesExitCode({ operator, values = [] }: ExitCodeRequirement, exitCode: number): boolean {
  return values.includes(exitCode) === (operator === "In");
}
