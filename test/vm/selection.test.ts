// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { testFiles } from "../runner/test-files.ts";
import { foreignParts, type Part, partsFor, usualParts } from "./selection.ts";

const files = testFiles();
const filesOf = ({ files: words = [] }: Part) =>
  files.filter((file) => words.some((word) => file.includes(word)));
const namesOf = (parts: readonly Part[]) => parts.map(({ name }) => name);

describe("the parts of the virtual machine's tests", () => {
  test("each word is of a file that exists, and no file is in two parts", () => {
    for (const parts of [usualParts, foreignParts]) {
      for (const word of parts.flatMap((part) => part.files ?? []))
        expect([word, files.some((file) => file.includes(word))]).toEqual([word, true]);
      const chosen = parts.flatMap(filesOf);
      expect(chosen).toEqual([...new Set(chosen)]);
    }
  });

  test("all parts together have every file once", () => {
    const all = partsFor({ files: "all" }, files);
    expect(all.flatMap(filesOf).sort()).toEqual([...files].sort());
    expect(new Set(namesOf(all)).size).toBe(all.length);
    expect(all.filter(({ suite }) => suite !== undefined)).toHaveLength(1);
  });

  test("parts are asked for by name and by number, and the usual ones run when nothing is asked for", () => {
    expect(partsFor({}, files)).toEqual(usualParts);
    expect(partsFor({}, files, foreignParts)).toEqual(foreignParts);
    expect(namesOf(partsFor({ part: "pods" }, files, foreignParts))).toEqual(["pods"]);
    expect(namesOf(partsFor({ part: "critest  1" }, files))).toEqual(["critest", "cgroups"]);
    expect(namesOf(partsFor({ part: "others-1" }, files))).toEqual(["others-1"]);
    expect(() => partsFor({ part: "cgroup" }, files)).toThrow(/PART=cgroup: .* 1 cgroups, 2 /);
  });

  test("words and cases are one part", () => {
    const [part, ...more] = partsFor({ files: "e2e-exec e2e-stats", focus: "AppArmor" }, files);
    expect(part).toMatchObject({ files: ["e2e-exec", "e2e-stats"], suite: { FOCUS: "AppArmor" } });
    expect(more).toEqual([]);
    expect(partsFor({ focus: "AppArmor" }, files)[0]?.files).toBeUndefined();
  });
});
