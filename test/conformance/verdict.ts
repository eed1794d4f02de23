// SPDX-License-Identifier: Apache-2.0
import type { KnownFailure, Machine } from "./known-failures.ts";
import type { CaseResult } from "./report.ts";

/** A run of the suite held against the list of known failures. */
export interface Verdict {
  readonly passed: readonly CaseResult[];
  /** As listed: cases that failed or skipped themselves for a reason that holds here. */
  readonly known: readonly { readonly result: CaseResult; readonly reason: string }[];
  /** Everything else; each fails the run. */
  readonly unexpected: readonly { readonly result: CaseResult; readonly problem: string }[];
}

/** Pure: what is wrong with the results on a machine with these properties. */
export function judge(
  results: readonly CaseResult[],
  list: readonly KnownFailure[],
  machine: Machine,
): Verdict {
  const verdict = {
    passed: [] as CaseResult[],
    known: [] as Verdict["known"][number][],
    unexpected: [] as Verdict["unexpected"][number][],
  };
  for (const result of results) {
    const entry = list.find(({ cases, holds }) => cases.test(result.name) && holds(machine));
    if (entry !== undefined && result.outcome === entry.outcome) {
      verdict.known.push({ result, reason: entry.reason });
    } else if (entry !== undefined) {
      const problem = `${result.outcome}, but is listed as ${entry.outcome}: ${entry.reason}`;
      verdict.unexpected.push({ result, problem });
    } else if (result.outcome === "passed") {
      verdict.passed.push(result);
    } else {
      verdict.unexpected.push({ result, problem: `${result.outcome}: ${result.message}` });
    }
  }
  return verdict;
}
