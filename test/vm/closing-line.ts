// SPDX-License-Identifier: Apache-2.0

/** What the virtual machine is to run: job.json. */
export interface Job {
  /** Words that the paths of test files contain, none for all of them; absent, no test file runs. */
  readonly files?: readonly string[];
  /** Environment of test/conformance/run.ts; absent, the suite does not run. */
  readonly suite?: Readonly<Record<string, string>>;
  /** By what the deadlines of tests are multiplied. */
  readonly patience: number;
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** The counts of a run from its last line; undefined when that is not a closing line. */
export function countsOf(output: string): Counts | undefined {
  const last = output.trimEnd().split("\n").at(-1) ?? "";
  const [, passed, failed, skipped] = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(last) ?? [];
  if (passed === undefined) return undefined;
  return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) };
}
