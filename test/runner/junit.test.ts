// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readJunit } from "./junit.ts";

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="4" assertions="2" failures="2" skipped="1" time="0.1">
  <testsuite name="a.test.ts" file="a.test.ts" tests="4" failures="2" skipped="1">
    <testcase name="works" classname="" time="0" file="a.test.ts" line="1" assertions="0" />
    <testcase name="says &quot;no&quot;" classname="a &lt;group&gt;" file="a.test.ts" line="2">
      <failure type="AssertionError" message="expected 1&#10;got 2">expected 1&#10;got 2</failure>
    </testcase>
    <testcase name="waits" classname="" file="a.test.ts" line="3">
      <failure type="TimeoutError" message="test timed out" />
    </testcase>
    <testcase name="later" classname="" file="a.test.ts" line="4">
      <skipped />
    </testcase>
  </testsuite>
</testsuites>`;

test("counts and failures are read from a report", () => {
  expect(readJunit(report)).toEqual({
    counts: { passed: 1, failed: 2, skipped: 1 },
    failures: [
      { file: "a.test.ts", test: 'a <group> > says "no"', message: "expected 1" },
      { file: "a.test.ts", test: "waits", message: "test timed out" },
    ],
  });
});

test("what a killed run left is no report", () => {
  expect(readJunit("")).toBeUndefined();
  expect(readJunit('<?xml version="1.0"')).toBeUndefined();
});
