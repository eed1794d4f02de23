// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { defaultSeccompFilter, seccompFilterFrom } from "./filters.ts";

const text = (flags: string[] = []) => JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", flags });

test("a filter is compiled once per profile and capabilities, in whatever order these come", () => {
  const one = defaultSeccompFilter(new Set(["KILL", "CHOWN"]));
  expect(defaultSeccompFilter(new Set(["CHOWN", "KILL"]))).toBe(one);
  expect(defaultSeccompFilter(new Set(["CHOWN"]))).not.toBe(one);
  const own = seccompFilterFrom(text(), "/a.json", new Set());
  expect(seccompFilterFrom(text(), "/b.json", new Set())).toBe(own);
  expect(seccompFilterFrom(`${text()} `, "/a.json", new Set())).not.toBe(own);
});

test("a filter carries the profile's flags", () => {
  expect(defaultSeccompFilter(new Set()).flags).toBe(0);
  expect(seccompFilterFrom(text(["SECCOMP_FILTER_FLAG_LOG"]), "/a.json", new Set()).flags).toBe(2);
});

test("no more than a bounded number of filters is kept, the latest used among them", () => {
  const kept = seccompFilterFrom(text(), "/kept.json", new Set(["KILL"]));
  const first = seccompFilterFrom(" ".repeat(100) + text(), "/x.json", new Set());
  for (let spaces = 1; spaces <= 80; spaces++) {
    seccompFilterFrom(" ".repeat(spaces) + text(), "/x.json", new Set());
    expect(seccompFilterFrom(text(), "/kept.json", new Set(["KILL"]))).toBe(kept);
  }
  expect(seccompFilterFrom(" ".repeat(100) + text(), "/x.json", new Set())).not.toBe(first);
});

test("a broken profile names its file and is not remembered", () => {
  for (let attempt = 0; attempt < 2; attempt++) {
    expect(() => seccompFilterFrom("{", "/broken.json", new Set())).toThrow("/broken.json: is not JSON");
  }
});
