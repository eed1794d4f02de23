// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CaseResult, readReport } from "./report.ts";

function read(specs: readonly object[], reasons: readonly string[] = []): CaseResult[] {
  const dir = mkdtempSync(join(tmpdir(), "podrt-report-"));
  try {
    const file = join(dir, "report.json");
    writeFileSync(file, JSON.stringify([{ SpecReports: specs, SpecialSuiteFailureReasons: reasons }]));
    return readReport(file);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function spec(text: string, state: string, more: object = {}): object {
  return {
    ContainerHierarchyTexts: ["[k8s.io] Image Manager"],
    LeafNodeType: "It",
    LeafNodeText: `${text} [Conformance]`,
    State: state,
    RunTime: 2_000_000,
    ...more,
  };
}

test("names come without labels; what the focus left out is not there", () => {
  const results = read([
    spec("pulls", "passed"),
    spec("left out", "skipped"),
    spec("skips itself", "skipped", { Failure: { Message: "not here" } }),
  ]);
  expect(results).toEqual([
    { name: "Image Manager / pulls", outcome: "passed", message: "", durationMs: 2 },
    { name: "Image Manager / skips itself", outcome: "skipped", message: "not here", durationMs: 2 },
  ]);
});

test("a panic, an interrupt and a time-out are failures, also of the suite's own set-up", () => {
  const results = read([
    spec("a", "panicked", { Failure: { Message: "panic", ForwardedPanic: "nil map" } }),
    spec("b", "timedout", { Failure: { Message: "too long" } }),
    { ...spec("", "failed"), ContainerHierarchyTexts: null, LeafNodeType: "BeforeSuite", LeafNodeText: "" },
  ]);
  expect(results.map(({ outcome }) => outcome)).toEqual(["failed", "failed", "failed"]);
  expect(results[0]!.message).toBe("panic: nil map");
  expect(results[2]!.name).toBe("BeforeSuite");
});

test("a suite that failed for a reason of its own is a failed case", () => {
  expect(read([spec("pulls", "passed")], ["Timed out"]).map(({ name }) => name)).toEqual([
    "Image Manager / pulls",
    "the suite itself",
  ]);
});
