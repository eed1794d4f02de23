// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import type { KnownFailure } from "./known-failures.ts";
import type { CaseResult, Outcome } from "./report.ts";
import { judge } from "./verdict.ts";

const list: KnownFailure[] = [
  { cases: /^Shields/, outcome: "skipped", reason: "no shields", holds: ({ hasAppArmor }) => !hasAppArmor },
];

function result(name: string, outcome: Outcome): CaseResult {
  return { name, outcome, message: outcome === "passed" ? "" : "because", durationMs: 1 };
}

function problems(results: readonly CaseResult[], hasAppArmor: boolean): string[] {
  return judge(results, list, { hasAppArmor }).unexpected.map(
    ({ result, problem }) => `${result.name}: ${problem}`,
  );
}

test("a case that is not listed must pass; failing and skipping itself are alike", () => {
  const results = [result("a", "passed"), result("b", "failed"), result("c", "skipped")];
  expect(problems(results, false)).toEqual(["b: failed: because", "c: skipped: because"]);
});

test("a listed case does as listed, and is wrong when it passes or fails in another way", () => {
  const known = judge([result("Shields up", "skipped")], list, { hasAppArmor: false }).known;
  expect(known.map(({ reason }) => reason)).toEqual(["no shields"]);
  expect(problems([result("Shields up", "passed")], false)).toEqual([
    "Shields up: passed, but is listed as skipped: no shields",
  ]);
  expect(problems([result("Shields up", "failed")], false)).toHaveLength(1);
});

test("where the reason does not hold, a listed case must pass", () => {
  expect(problems([result("Shields up", "passed")], true)).toEqual([]);
  expect(problems([result("Shields up", "skipped")], true)).toEqual(["Shields up: skipped: because"]);
});
