// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseExposition } from "../../test/support/exposition.ts";
import { exposition, newCounter, newHistogram, newReading } from "./registry.ts";

test("a counter without labels is there from the beginning, others when they are counted", () => {
  const plain = newCounter("plain_total", "p");
  const labelled = newCounter("labelled_total", "l", true);
  expect(exposition([plain, labelled])).toBe(
    "# HELP plain_total p\n# TYPE plain_total counter\nplain_total 0\n# HELP labelled_total l\n# TYPE labelled_total counter\n",
  );
  plain.add(2);
  labelled.add(1, { code: "OK" });
  labelled.add(1, { code: "OK" });
  const scrape = parseExposition(exposition([plain, labelled]));
  expect(scrape.value("plain_total")).toBe(2);
  expect(scrape.value("labelled_total", { code: "OK" })).toBe(2);
});

test("a histogram counts what is at most a bound, and all", () => {
  const histogram = newHistogram("h_seconds", "h", [0.1, 1]);
  for (const value of [0.1, 0.5, 7]) histogram.observe(value, { rpc: "Version" });
  const scrape = parseExposition(exposition([histogram]));
  const bucket = (le: string) => scrape.value("h_seconds_bucket", { rpc: "Version", le });
  expect([bucket("0.1"), bucket("1"), bucket("+Inf")]).toEqual([1, 2, 3]);
  expect(scrape.value("h_seconds_count", { rpc: "Version" })).toBe(3);
  expect(scrape.value("h_seconds_sum", { rpc: "Version" })).toBeCloseTo(7.6);
});

test("a reading is read when somebody asks", () => {
  let value = 1;
  const reading = newReading("g", "g", "gauge", () => [{ value: value++ }]);
  expect(parseExposition(exposition([reading])).value("g")).toBe(1);
  expect(parseExposition(exposition([reading])).value("g")).toBe(2);
});

test("labels may have any characters", () => {
  const counter = newCounter("odd_total", "o", true);
  const path = 'a"b\\c\nd,e}';
  counter.add(1, { path });
  expect(parseExposition(exposition([counter])).value("odd_total", { path })).toBe(1);
});

test("a family does not grow beyond its bound: what is more counts as other", () => {
  const counter = newCounter("many_total", "m", true);
  for (let index = 0; index < 1500; index++) counter.add(1, { id: String(index) });
  const scrape = parseExposition(exposition([counter]));
  expect(scrape.lines.length).toBe(1001);
  expect(scrape.value("many_total", { id: "other" })).toBe(500);
});
