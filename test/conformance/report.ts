// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

export type Outcome = "passed" | "failed" | "skipped";

/** One case of the suite and how it went. */
export interface CaseResult {
  /** Its containers and its own text, joined by " / ", without the suite's labels in brackets. */
  readonly name: string;
  readonly outcome: Outcome;
  /** Why it failed or skipped itself; empty when it passed. */
  readonly message: string;
  readonly durationMs: number;
}

/** What is read here of ginkgo's JSON report (types.Report in github.com/onsi/ginkgo/v2/types). */
interface GinkgoReport {
  readonly SpecialSuiteFailureReasons?: readonly string[] | null;
  readonly SpecReports: readonly {
    readonly ContainerHierarchyTexts: readonly string[] | null;
    readonly LeafNodeType: string;
    readonly LeafNodeText: string;
    readonly State: string;
    /** Nanoseconds. */
    readonly RunTime: number;
    readonly Failure?: { readonly Message: string; readonly ForwardedPanic?: string };
  }[];
}

/**
 * The cases that ran, or chose to skip themselves. What the focus left out is not among them. What fails outside of
 * the cases (the suite's own set-up, its time limit) counts as a case.
 */
export function readReport(file: string): CaseResult[] {
  const reports = JSON.parse(readFileSync(file, "utf8")) as GinkgoReport[];
  return reports.flatMap(({ SpecReports, SpecialSuiteFailureReasons }) => {
    const cases = SpecReports.map(
      (spec): CaseResult => ({
        name: nameOf([...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText || spec.LeafNodeType]),
        outcome: spec.State === "passed" || spec.State === "skipped" ? spec.State : "failed",
        message: [spec.Failure?.Message, spec.Failure?.ForwardedPanic].filter(Boolean).join(": "),
        durationMs: spec.RunTime / 1e6,
      }),
    ).filter(
      ({ outcome, message }, index) =>
        outcome === "failed" ||
        (SpecReports[index]!.LeafNodeType === "It" && (outcome === "passed" || message !== "")),
    );
    const broken = (SpecialSuiteFailureReasons ?? []).map(
      (message): CaseResult => ({
        name: "the suite itself",
        outcome: "failed",
        message,
        durationMs: 0,
      }),
    );
    return cases.some(({ outcome }) => outcome === "failed") ? cases : [...cases, ...broken];
  });
}

function nameOf(texts: readonly string[]): string {
  return texts
    .map((text) => text.replace(/\[(k8s\.io|Conformance)\]/g, "").trim())
    .filter((text) => text !== "")
    .join(" / ");
}
