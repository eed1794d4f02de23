// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR } from "./abi/fcntl.ts";
import { S_IFDIR, S_IFLNK, S_IFMT } from "./abi/stat.ts";
import { type Fd, open, writeAll } from "./fd.ts";
import { mkdirAllInRoot, openBeneath, openInRoot, readLink, statAt, statFd } from "./path.ts";
import { isErrno } from "./syscall.ts";

let base: string;
let root: string;
let rootFd: Fd;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-path-"));
  root = join(base, "root");
  mkdirSync(root);
  rootFd = open(root, O_PATH | O_DIRECTORY);
});

afterEach(() => {
  rootFd.close();
  rmSync(base, { recursive: true });
});

function errnoOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isErrno(error, "EXDEV", "ELOOP", "ENOENT", "ENOTDIR")) return error.code;
    throw error;
  }
  return "success";
}

test("openInRoot keeps absolute links and dot-dot inside the root", () => {
  symlinkSync("/", join(root, "slash"));
  symlinkSync("../../../..", join(root, "up"));
  for (const name of ["slash/file", "up/file", "/file", "../../file"]) {
    using file = openInRoot(rootFd.number, name, O_CREAT | O_RDWR, 0o600);
    writeAll(file.number, new TextEncoder().encode(name));
    expect(readFileSync(join(root, "file"), "latin1").startsWith(name)).toBe(true);
  }
  expect(existsSync(join(base, "file"))).toBe(false);
});

test("openBeneath refuses what would leave the root", () => {
  symlinkSync("/etc", join(root, "etc"));
  symlinkSync("..", join(root, "up"));
  for (const name of ["etc/passwd", "up", "..", "/etc"]) {
    expect(errnoOf(() => openBeneath(rootFd.number, name, O_PATH).close())).toBe("EXDEV");
  }
});

test("magic links of /proc are never followed", () => {
  using proc = open("/proc/self", O_PATH | O_DIRECTORY);
  expect(errnoOf(() => openInRoot(proc.number, "root/etc", O_PATH).close())).toBe("ELOOP");
});

test("mkdirAllInRoot makes what is missing with the mode asked for", () => {
  const umask = process.umask(0o077);
  try {
    using directory = mkdirAllInRoot(rootFd.number, "/a/./b/../c//d", 0o1777);
    expect(statFd(directory.number).mode).toBe(S_IFDIR | 0o1777);
  } finally {
    process.umask(umask);
  }
  expect(existsSync(join(root, "a/c/d"))).toBe(true);
  expect(lstatSync(join(root, "a/b")).mode & 0o7777).toBe(0o1777);
});

test("mkdirAllInRoot follows dangling links as seen from inside", () => {
  symlinkSync("/run/deep", join(root, "var"));
  symlinkSync("../../../../outside", join(root, "out"));
  mkdirAllInRoot(rootFd.number, "var/lock", 0o755).close();
  mkdirAllInRoot(rootFd.number, "out/x", 0o755).close();
  expect(existsSync(join(root, "run/deep/lock"))).toBe(true);
  expect(existsSync(join(root, "outside/x"))).toBe(true);
  expect(existsSync(join(base, "outside"))).toBe(false);
});

test("mkdirAllInRoot stops at files and at loops of links", () => {
  openInRoot(rootFd.number, "file", O_CREAT | O_RDWR, 0o600).close();
  symlinkSync("loop", join(root, "loop"));
  expect(errnoOf(() => mkdirAllInRoot(rootFd.number, "file/x", 0o755))).toBe("ENOTDIR");
  expect(errnoOf(() => mkdirAllInRoot(rootFd.number, "loop/x", 0o755))).toBe("ELOOP");
});

test("mkdirAllInRoot keeps names that are no UTF-8 and tells what it made", () => {
  const made: string[] = [];
  const name = Uint8Array.of(0x61, 0x2f, 0xff, 0xfe, 0);
  using directory = mkdirAllInRoot(rootFd.number, name, 0o755, {
    made: (_, path) => made.push(Buffer.from(path).toString("latin1")),
  });
  expect(made).toEqual(["a", "a/\xff\xfe"]);
  expect(statAt(rootFd.number, name).ino).toBe(statFd(directory.number).ino);
});

test("statAt does not follow the last component, and readLink reads it", () => {
  symlinkSync("/etc", join(root, "link"));
  expect(statAt(rootFd.number, "link").mode & S_IFMT).toBe(S_IFLNK);
  using link = openInRoot(rootFd.number, "link", O_PATH | O_NOFOLLOW);
  expect(Buffer.from(readLink(link.number)).toString()).toBe("/etc");
});

test("statFd agrees with lstat", () => {
  using file = open("/etc/passwd", O_RDONLY);
  const status = statFd(file.number);
  const expected = lstatSync("/etc/passwd", { bigint: true });
  expect(status.ino).toBe(expected.ino);
  expect(status.size).toBe(Number(expected.size));
  expect(status.mode).toBe(Number(expected.mode));
  expect(status.mtimeSeconds * 1_000_000_000n + BigInt(status.mtimeNanoseconds)).toBe(expected.mtimeNs);
  const deviceMajor = Number((expected.dev >> 8n) & 0xfffn);
  expect(status.dev.split(":")[0]).toBe(String(deviceMajor));
});
