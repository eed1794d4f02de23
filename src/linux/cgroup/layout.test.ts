// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCgroup } from "./cgroup.ts";
import type { CgroupHost } from "./host.ts";
import { layoutOf, unifiedDirectories } from "./layout.ts";

// Plain folders in place of a hybrid machine's hierarchies.
let root: string;

function host(): CgroupHost {
  const hierarchies = [
    { controllers: ["memory"], mountPoint: join(root, "memory") },
    { controllers: ["pids"], mountPoint: join(root, "pids") },
  ];
  return { version: "v1", controllers: ["memory", "pids"], hierarchies, unified: join(root, "unified") };
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-layout-"));
  for (const hierarchy of ["memory", "pids", "unified"]) mkdirSync(join(root, hierarchy));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

test("on a hybrid machine the cgroup2 directories of a cgroup are its own and those of the ones below it", () => {
  for (const path of ["/pods/one/pause", "/pods/one/app", "/pods/one2/app"])
    openCgroup(host(), path).create();
  const names = unifiedDirectories(host(), layoutOf(host(), "/pods/one")).map((path) =>
    path.slice(join(root, "unified/").length),
  );
  expect(names.sort()).toEqual(["pods%2Fone", "pods%2Fone%2Fapp", "pods%2Fone%2Fpause"]);
});

test("what a container has made below its cgroup may have any name", () => {
  const name = "x".repeat(200);
  mkdirSync(join(root, "pids/pods/one", name, name), { recursive: true });
  expect(unifiedDirectories(host(), layoutOf(host(), "/pods/one"))).toEqual([
    join(root, `unified/pods%2Fone%2F${name}`),
    join(root, "unified/pods%2Fone"),
  ]);
});

test("a cgroup is removed from all hierarchies with those below it, and no other is", async () => {
  for (const path of ["/pods/one/pause", "/pods/one/app", "/pods/two/app"]) openCgroup(host(), path).create();
  await openCgroup(host(), "/pods/one").remove();
  expect(readdirSync(join(root, "unified"))).toEqual(["pods%2Ftwo%2Fapp"]);
  for (const hierarchy of ["memory", "pids"]) {
    expect(existsSync(join(root, hierarchy, "pods/one"))).toBe(false);
    expect(existsSync(join(root, hierarchy, "pods/two/app"))).toBe(true);
  }
});
