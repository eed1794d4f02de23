// SPDX-License-Identifier: Apache-2.0
import type { Counts } from "./closing-line.ts";

/** A test that failed: its file, its name with the groups around it, and the first line of why. */
export interface Failure {
  readonly file: string;
  readonly test: string;
  readonly message: string;
}

/** What a JUnit report of `bun test` says; undefined when it is none, as of a run that was killed. */
export function readJunit(xml: string): { counts: Counts; failures: Failure[] } | undefined {
  const head = /<testsuites [^>]*>/.exec(xml)?.[0];
  if (head === undefined) return undefined;
  const count = (name: string) => Number(attribute(head, name) || "0");
  const failed = count("failures");
  const skipped = count("skipped");
  const failures = [...xml.matchAll(/(<testcase [^>]*[^/]>)\s*(<failure [^>]*>)/g)].map(
    ([, testcase, failure]): Failure => ({
      file: attribute(testcase!, "file"),
      test: [attribute(testcase!, "classname"), attribute(testcase!, "name")].filter(Boolean).join(" > "),
      message: attribute(failure!, "message").split("\n")[0]!,
    }),
  );
  return { counts: { passed: count("tests") - failed - skipped, failed, skipped }, failures };
}

function attribute(element: string, name: string): string {
  const value = new RegExp(` ${name}="([^"]*)"`).exec(element)?.[1] ?? "";
  const characters: Record<string, string> = {
    lt: "<",
    gt: ">",
    quot: '"',
    apos: "'",
    amp: "&",
    "#10": "\n",
  };
  return value.replace(/&(#?\w+);/g, (whole, entity: string) => characters[entity] ?? whole);
}
