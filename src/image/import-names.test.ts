// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { chooseNames } from "./import-names.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

test("without --name an archive's own references count", () => {
  const images = [
    { references: ["nginx", "localhost:5000/x:2"] },
    { references: ["quay.io/a/b:c"], tag: "ignored" },
  ];
  expect(chooseNames(images, undefined)).toEqual([
    ["docker.io/library/nginx:latest", "localhost:5000/x:2"],
    ["quay.io/a/b:c"],
  ]);
});

test("an archive that does not say what its images are called needs --name", () => {
  expect(() => chooseNames([{ references: [] }], undefined)).toThrow(/has no name .* give one with --name/);
  expect(() => chooseNames([{ references: [], tag: "v1" }], undefined)).toThrow('only the tag "v1"');
  expect(() => chooseNames([{ references: ["Not A Name"] }], undefined)).toThrow("its name");
});

test("--name with a tag names the one image", () => {
  expect(chooseNames([{ references: ["a:1"] }], "b:2")).toEqual([["docker.io/library/b:2"]]);
  expect(chooseNames([{ references: [] }], "host:5000/b")).toEqual([["host:5000/b:latest"]]);
  expect(() => chooseNames([{ references: [] }, { references: [] }], "b:2")).toThrow("there are 2 in it");
  expect(() => chooseNames([{ references: [] }], `b@${DIGEST}`)).toThrow("is a digest");
});

test("--name without a tag is the repository of all images, which keep their tags", () => {
  const images = [{ references: ["a:1", "a:2"] }, { references: [], tag: "v3" }];
  expect(chooseNames(images, "host:5000/b")).toEqual([["host:5000/b:1"], ["host:5000/b:v3"]]);
  expect(() => chooseNames([{ references: ["a:1"] }, { references: ["b:1"] }], "c")).toThrow("alike");
});
