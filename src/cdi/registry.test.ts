// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { annotatedDevices, isQualifiedName } from "./device-name.ts";
import { readCdiRegistry } from "./registry.ts";

let dir: string;
let low: string;
let high: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-cdi-"));
  [low, high] = [join(dir, "low"), join(dir, "high")];
  for (const path of [low, high]) mkdirSync(path);
});

afterEach(() => rmSync(dir, { recursive: true }));

/** A file that describes devices, each with a variable that says where it is from. */
function describe(file: string, names: readonly string[], more: object = {}): void {
  const devices = names.map((name) => ({ name, containerEdits: { env: [`FROM=${file} ${name}`] } }));
  const spec = { cdiVersion: "0.6.0", kind: "vendor.com/device", devices, ...more };
  writeFileSync(join(dir, file), JSON.stringify(spec));
}

async function variables(...names: string[]): Promise<string[]> {
  const registry = await readCdiRegistry([low, high, join(dir, "absent")]);
  return registry
    .editsFor(names.map((name) => `vendor.com/device=${name}`))
    .flatMap(({ edits }) => edits.env);
}

test("devices are found by their names, in the order in which they are asked for", async () => {
  describe("low/one.json", ["a", "b"]);
  describe("low/two.yaml", ["c"]);
  writeFileSync(join(low, "readme.txt"), "no specification");
  expect(await variables("c", "a")).toEqual(["FROM=low/two.yaml c", "FROM=low/one.json a"]);
});

test("what the devices of a file have in common comes once, before the first of them", async () => {
  describe("low/one.json", ["a", "b"], { containerEdits: { env: ["COMMON=1"] } });
  describe("low/two.json", ["c"]);
  expect(await variables("c", "b", "a")).toEqual([
    "FROM=low/two.json c",
    "COMMON=1",
    "FROM=low/one.json b",
    "FROM=low/one.json a",
  ]);
});

test("the later directory counts where both have a device", async () => {
  describe("high/z.json", ["a"]);
  describe("low/a.json", ["a", "b"]);
  expect(await variables("a", "b")).toEqual(["FROM=high/z.json a", "FROM=low/a.json b"]);
});

test("a device that two files of one directory have is nobody's, unless a later directory has it", async () => {
  describe("low/one.json", ["a", "b"]);
  describe("low/two.json", ["a"]);
  const both = `vendor.com/device=a is both in ${join(low, "one.json")} and in ${join(low, "two.json")}`;
  await expect(variables("a")).rejects.toThrow(both);
  expect(await variables("b")).toEqual(["FROM=low/one.json b"]);
  describe("high/z.json", ["a"]);
  expect(await variables("a")).toEqual(["FROM=high/z.json a"]);
});

test("what cannot be read is told, and hides no other device", async () => {
  describe("low/good.json", ["a"]);
  writeFileSync(join(low, "broken.json"), "{");
  writeFileSync(join(low, "large.json"), `"${"x".repeat(1024 * 1024)}"`);
  mkdirSync(join(low, "directory.json"));
  spawnSync("mkfifo", [join(low, "pipe.yaml")]);
  const registry = await readCdiRegistry([low]);
  expect(registry.problems).toEqual([
    expect.stringContaining(`${join(low, "broken.json")}: is no JSON: `),
    `${join(low, "directory.json")}: is no file`,
    `${join(low, "large.json")}: is larger than 1048576 bytes`,
    `${join(low, "pipe.yaml")}: is no file`,
  ]);
  expect(registry.editsFor(["vendor.com/device=a"])).toHaveLength(1);
  expect(() => registry.editsFor(["vendor.com/device=a", "vendor.com/device=x", "other.com/y=z"])).toThrow(
    `no CDI specification in ${low} describes vendor.com/device=x and other.com/y=z (${join(low, "broken.json")}: is no JSON`,
  );
});

test("names of devices are those of the specification", () => {
  for (const name of ["vendor.com/class=name", "v/c=0", "a_b-c.d/e.f_g=h:i.j-k_l", "nvidia.com/gpu=all"]) {
    expect(isQualifiedName(name)).toBe(true);
  }
  const bad = [
    "",
    "name",
    "v/c",
    "v/c=",
    "/c=n",
    "v/=n",
    "1v/c=n",
    "v/1c=n",
    "v./c=n",
    "v/c=n-",
    "v/c=-n",
    "v/c/d=n",
  ];
  for (const name of [...bad, "v/c=n n", "v/c=n\n", `v/c=${"n".repeat(1024)}`]) {
    expect([name, isQualifiedName(name)]).toEqual([name, false]);
  }
});

test("annotations ask for several devices each", () => {
  const annotations = { "cdi.k8s.io/plugin_a": "v/c=1,v/c=2", "cdi.k8s.iox/b": "v/c=3", other: "v/c=4" };
  expect(annotatedDevices(annotations)).toEqual([["cdi.k8s.io/plugin_a", ["v/c=1", "v/c=2"]]]);
});
