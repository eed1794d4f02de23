// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { makeLinkTarget } from "./mount-point.ts";

let outside = "";
let rootDir = "";

beforeEach(() => {
  outside = mkdtempSync(join(tmpdir(), "podrt-link-"));
  rootDir = join(outside, "root");
  mkdirSync(join(rootDir, "etc"), { recursive: true });
});

afterEach(() => rmSync(outside, { recursive: true }));

function prepare(path = "/etc/resolv.conf"): void {
  using root = open(rootDir, O_PATH | O_DIRECTORY);
  makeLinkTarget(root, path);
}

function link(target: string, name = "etc/resolv.conf"): void {
  symlinkSync(target, join(rootDir, name));
}

test("what a dangling link names is made inside the root, with its directories", () => {
  link("../run/systemd/resolve/stub-resolv.conf");
  prepare();
  expect(existsSync(join(rootDir, "run/systemd/resolve/stub-resolv.conf"))).toBe(true);
});

test("an absolute target is below the root, not on the host", () => {
  link(join(outside, "stolen"));
  prepare();
  expect(existsSync(join(outside, "stolen"))).toBe(false);
  expect(existsSync(join(rootDir, outside, "stolen"))).toBe(true);
});

test("a target with more .. than there are directories stays in the root", () => {
  link("../../../../../../stolen");
  prepare();
  expect(readdirSync(outside)).toEqual(["root"]);
  expect(existsSync(join(rootDir, "stolen"))).toBe(true);
});

test("links are followed one after the other, and a circle of them ends", () => {
  link("second");
  link("/third", "etc/second");
  prepare();
  expect(existsSync(join(rootDir, "third"))).toBe(true);
  link("b", "etc/a");
  link("a", "etc/b");
  expect(() => prepare("/etc/a")).toThrow("ELOOP");
});

test("a file that is there, or a name that is not, is left as it is", () => {
  writeFileSync(join(rootDir, "etc/resolv.conf"), "nameserver 192.0.2.1\n");
  prepare();
  prepare("/etc/hosts");
  expect(readdirSync(join(rootDir, "etc"))).toEqual(["resolv.conf"]);
});
