// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { HEADER_DICTIONARY } from "./dictionary.ts";

test("the dictionary is the draft's, by the checksum that peers compare", () => {
  expect(HEADER_DICTIONARY.length).toBe(1423);
  expect(Bun.hash.adler32(HEADER_DICTIONARY)).toBe(0xe3c6a7c2);
  expect(new Bun.SHA256().update(HEADER_DICTIONARY).digest("hex")).toBe(
    "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02",
  );
});
