// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { makeLinkTarget, makeMountPoints, rootMountPoints } from "./mount-point.ts";
import { IMAGE_VOLUME, SUB_PATH } from "./mounts.ts";

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

test("the mount points of a root are those that lie below no other mount, in the order of the mounts", () => {
  const directory = (destination: string, type = "tmpfs") => ({
    destination,
    type,
    source: type,
    options: [],
  });
  const bind = (destination: string, source: string, options: readonly string[] = []) => ({
    destination,
    type: "bind",
    source,
    options: ["rbind", ...options],
  });
  writeFileSync(join(outside, "file"), "");
  const points = rootMountPoints([
    directory("/proc", "proc"),
    directory("/dev"),
    directory("/dev/pts", "devpts"),
    bind("/etc/hosts", join(outside, "file")),
    bind("/data/deep", rootDir),
    bind("/data", "/data", [IMAGE_VOLUME]),
    bind("/var/lib/app", rootDir),
    bind("/part", rootDir, [`${SUB_PATH}a/link`]),
    bind("/missing", join(outside, "missing")),
    bind("/a/../b", rootDir),
  ]);
  expect(points.map(({ path, isDirectory }) => `${path}${isDirectory ? "/" : ""}`)).toEqual([
    ...["/dev/", "/data/", "/etc/hosts", "/var/lib/app/", "/proc/"],
  ]);
});

function make(...paths: readonly string[]): void {
  using root = open(rootDir, O_PATH | O_DIRECTORY);
  makeMountPoints(
    root,
    paths.map((path) => ({ path: path.replace(/\/$/, ""), isDirectory: path.endsWith("/") })),
  );
}

test("mount points are made with the modes of a launch, and what is there stays as it is", () => {
  mkdirSync(join(rootDir, "there"), { mode: 0o700 });
  writeFileSync(join(rootDir, "there/file"), "kept");
  const umask = process.umask(0o077);
  try {
    make("/there/", "/there/file", "/there/new", "/new/deep/", "/etc/hosts");
  } finally {
    process.umask(umask);
  }
  const mode = (path: string) => statSync(join(rootDir, path)).mode & 0o777;
  expect(["there", "there/new", "new", "new/deep", "etc/hosts"].map(mode)).toEqual([
    0o700, 0o644, 0o755, 0o755, 0o644,
  ]);
  expect(readFileSync(join(rootDir, "there/file"), "utf8")).toBe("kept");
});

test("mount points are made where links of the root lead within it, and never outside", () => {
  mkdirSync(join(rootDir, "run"));
  symlinkSync("/run", join(rootDir, "var"));
  symlinkSync("../../../../../..", join(rootDir, "up"));
  symlinkSync(outside, join(rootDir, "out"));
  make("/var/secrets/", "/up/file");
  expect(readdirSync(join(rootDir, "run"))).toEqual(["secrets"]);
  expect(existsSync(join(rootDir, "file"))).toBe(true);
  expect(() => make("/out/stolen/")).toThrow("ENOENT");
  symlinkSync("/proc/self/root", join(rootDir, "magic"));
  expect(() => make("/magic/stolen/")).toThrow();
  expect(readdirSync(outside)).toEqual(["root"]);
});
