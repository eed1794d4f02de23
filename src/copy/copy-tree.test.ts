// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TarEntry } from "../image/tar-entry.ts";
import { createTarReader } from "../image/tar-reader.ts";
import { TAR_END, tarHeader, tarPadding } from "../image/tar-writer.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { COPY_BOUNDS, type CopyBounds, type CopySummary } from "./copy-bounds.ts";
import { readTree } from "./read-tree.ts";
import { openTarget, topNameOf } from "./tree-place.ts";
import { createTreeWriter } from "./write-tree.ts";

let top: string;
let from: string;
let to: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "podrt-copy-"));
  from = join(top, "from");
  to = join(top, "to");
  mkdirSync(from);
  mkdirSync(to);
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

interface ReadOptions {
  readonly followLink?: boolean;
  readonly bounds?: CopyBounds;
  readonly onChunk?: (count: number) => void;
}

/** The archive of a path below `from`, which is the root. */
async function archived(path: string, { followLink = false, bounds, onChunk }: ReadOptions = {}) {
  const chunks: Uint8Array[] = [];
  using root = open(from, O_PATH | O_DIRECTORY);
  const source = { rootFd: root.number, path, shown: path, followLink };
  const sink = (bytes: Uint8Array) => {
    chunks.push(bytes.slice());
    onChunk?.(chunks.length);
  };
  const summary = await readTree(source, sink, undefined, bounds);
  return { archive: Buffer.concat(chunks), summary };
}

/** Takes an archive apart at a path below `to`, which is the root. */
function unarchived(archive: Uint8Array, path: string, topName?: string, bounds?: CopyBounds): CopySummary {
  using root = open(to, O_PATH | O_DIRECTORY);
  using target = openTarget(root.number, path, path);
  using writer = createTreeWriter({
    target,
    topName,
    adapt: (entry) => entry,
    ...(bounds === undefined ? {} : { bounds }),
  });
  const reader = createTarReader(writer);
  for (let at = 0; at < archive.length; at += 700) reader.push(archive.subarray(at, at + 700));
  reader.finish();
  return writer.finish();
}

async function copy(path: string, target: string): Promise<CopySummary> {
  const { archive } = await archived(path);
  return unarchived(archive, target, topNameOf(path));
}

const plainEntry: TarEntry = {
  path: "",
  type: "file",
  linkPath: "",
  mode: 0o644,
  uid: process.geteuid!(),
  gid: process.getegid!(),
  sizeBytes: 0,
  mtimeSeconds: 1,
  mtimeNanoseconds: 0,
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map(),
};

function archiveOf(...members: (Partial<TarEntry> & { content?: string })[]): Uint8Array {
  const parts = members.flatMap(({ content = "", ...member }) => {
    const bytes = Buffer.from(content);
    const entry = { ...plainEntry, ...member, sizeBytes: bytes.length };
    return [tarHeader(entry), bytes, new Uint8Array(tarPadding(bytes.length))];
  });
  return Buffer.concat([...parts, TAR_END]);
}

describe("a copied tree", () => {
  test("has contents, modes, times, links and several names of a file as they were", async () => {
    mkdirSync(join(from, "site/deep/er"), { recursive: true });
    writeFileSync(join(from, "site/page"), "hello");
    writeFileSync(join(from, "site/deep/large"), Buffer.alloc(700_001, "x"));
    writeFileSync(join(from, "site/.wh.odd"), "no deletion here");
    linkSync(join(from, "site/page"), join(from, "site/deep/er/same"));
    symlinkSync("/nowhere/../x", join(from, "site/link"));
    chmodSync(join(from, "site/page"), 0o4751);
    chmodSync(join(from, "site/deep"), 0o511);
    utimesSync(join(from, "site/page"), 5, 7.25);
    lutimesSync(join(from, "site/link"), 5, 8);
    utimesSync(join(from, "site/deep"), 5, 9);
    expect(await copy("/site", "/")).toEqual({ files: 8, bytes: 700_001 + 5 + 16, leftOut: 0 });
    const at = (path: string) => join(to, "site", path);
    expect(readFileSync(at("page"), "utf8")).toBe("hello");
    expect(statSync(at("page")).mode & 0o7777).toBe(0o4751);
    expect(statSync(at("page")).mtimeMs).toBe(7250);
    expect(statSync(at("page")).ino).toBe(statSync(at("deep/er/same")).ino);
    expect(readFileSync(at("deep/large")).length).toBe(700_001);
    expect(readFileSync(at(".wh.odd"), "utf8")).toBe("no deletion here");
    expect(readlinkSync(at("link"))).toBe("/nowhere/../x");
    expect(lstatSync(at("link")).mtimeMs).toBe(8000);
    expect(statSync(at("deep")).mode & 0o777).toBe(0o511);
    expect(statSync(at("deep")).mtimeMs).toBe(9000);
  });

  test("goes where cp would put it", async () => {
    writeFileSync(join(from, "a"), "1");
    mkdirSync(join(from, "d"));
    writeFileSync(join(from, "d/b"), "2");
    mkdirSync(join(to, "there"));
    await copy("/a", "/there");
    await copy("/a", "/renamed");
    await copy("/d", "/there");
    await copy("/d", "/copied");
    await copy("/d/.", "/there");
    await copy("/d/.", "/content");
    const found = ["there/a", "renamed", "there/d/b", "copied/b", "there/b", "content/b"];
    expect(found.map((path) => existsSync(join(to, path)))).toEqual(found.map(() => true));
    await expect(copy("/a", "/none/a")).rejects.toThrow("there is no directory for /none/a to be put into");
    await expect(copy("/a", "/none/")).rejects.toThrow("there is no directory /none/ to copy into");
    await expect(copy("/none", "/")).rejects.toThrow("there is no /none");
  });

  test("takes the place of files, but of no directory, and leaves what is in one", async () => {
    mkdirSync(join(from, "d"));
    writeFileSync(join(from, "d/file"), "new");
    mkdirSync(join(to, "d"), { mode: 0o700 });
    writeFileSync(join(to, "outside"), "mine");
    symlinkSync(join(to, "outside"), join(to, "d/file"));
    writeFileSync(join(to, "d/other"), "stays");
    await copy("/d", "/");
    expect(lstatSync(join(to, "d/file")).isFile()).toBe(true);
    expect(readFileSync(join(to, "d/file"), "utf8")).toBe("new");
    expect(readFileSync(join(to, "outside"), "utf8")).toBe("mine");
    expect(readFileSync(join(to, "d/other"), "utf8")).toBe("stays");
    expect(statSync(join(to, "d")).mode & 0o777).toBe(0o700);
    rmSync(join(to, "d/file"));
    mkdirSync(join(to, "d/file"));
    await expect(copy("/d", "/")).rejects.toThrow('"d/file" is there already, as a directory');
    rmSync(join(to, "d"), { recursive: true });
    writeFileSync(join(to, "d"), "");
    await expect(copy("/d", "/")).rejects.toThrow('"d" is there already, and no directory');
    expect(readdirSync(to).sort()).toEqual(["d", "outside"]);
  });

  test("is as the file system had it at the links that were asked for, and no other", async () => {
    mkdirSync(join(from, "real"));
    writeFileSync(join(from, "real/file"), "found");
    symlinkSync("/real", join(from, "link"));
    symlinkSync("../../../../../../../../etc", join(from, "out"));
    await copy("/link", "/");
    expect(readlinkSync(join(to, "link"))).toBe("/real");
    await copy("/link/file", "/followed");
    expect(readFileSync(join(to, "followed"), "utf8")).toBe("found");
    const { archive } = await archived("/link", { followLink: true });
    unarchived(archive, "/asked", topNameOf("/link"));
    expect(readFileSync(join(to, "asked/file"), "utf8")).toBe("found");
    // The root is the root of all links: what leads out of it is looked for inside.
    await expect(archived("/out/passwd")).rejects.toThrow("there is no /out/passwd");
  });

  test("leaves out sockets and what the kernel makes up, and says how many", async () => {
    mkdirSync(join(from, "d"));
    const server = createServer().listen(join(from, "d/socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const { summary } = await archived("/d");
    server.close();
    expect(summary).toEqual({ files: 1, bytes: 0, leftOut: 1 });
    using root = open("/", O_PATH | O_DIRECTORY);
    const source = { rootFd: root.number, path: "/proc/version", shown: "/proc/version", followLink: false };
    await expect(readTree(source, () => {})).rejects.toThrow("/proc/version is made up by the kernel");
    const link = { ...source, path: "/proc/self/root/etc/passwd", shown: "x" };
    await expect(readTree(link, () => {})).rejects.toThrow("a link of /proc");
  });
});

describe("a tree that changes while it is read", () => {
  test("leads nowhere else: a directory that became a link is left out, with what is behind that", async () => {
    for (const name of ["a", "b"]) {
      mkdirSync(join(from, "d", name), { recursive: true });
      writeFileSync(join(from, "d", name, "file"), Buffer.alloc(600_000));
    }
    mkdirSync(join(top, "secret"));
    writeFileSync(join(top, "secret/file"), "of somebody else");
    const { archive, summary } = await archived("/d", {
      onChunk(count) {
        // The second is the first directory in it, which has not been listed yet.
        if (count !== 2) return;
        for (const name of ["a", "b"]) {
          renameSync(join(from, "d", name), join(top, `gone-${name}`));
          symlinkSync("../../secret", join(from, "d", name));
        }
      },
    });
    expect(archive.includes("of somebody else")).toBe(false);
    // The directory itself, the one whose content is out of reach now, and the other, which is a link.
    expect(summary).toEqual({ files: 3, bytes: 0, leftOut: 1 });
    unarchived(archive, "/", "d");
    const isLink = ["a", "b"].map((name) => lstatSync(join(to, "d", name)).isSymbolicLink());
    expect(isLink.toSorted()).toEqual([false, true]);
  });

  test("is an error where a file shrinks, instead of a file with a hole", async () => {
    writeFileSync(join(from, "file"), Buffer.alloc(2_000_000, "x"));
    const work = archived("/file", { onChunk: () => truncateSync(join(from, "file"), 1000) });
    await expect(work).rejects.toThrow('"file" became shorter while it was read');
  });

  test("ends at the bounds, before a file that claims too much", async () => {
    mkdirSync(join(from, "d"));
    writeFileSync(join(from, "d/huge"), "");
    truncateSync(join(from, "d/huge"), 2 ** 40);
    let bytes = 0;
    const work = archived("/d", { onChunk: (count) => (bytes = count) });
    await expect(work).rejects.toThrow(`more than the ${64 * 2 ** 30} bytes`);
    expect(bytes).toBe(1);
    for (const name of ["1", "2", "3"]) writeFileSync(join(from, "d", name), "");
    rmSync(join(from, "d/huge"));
    await expect(archived("/d", { bounds: { ...COPY_BOUNDS, maxFiles: 2 } })).rejects.toThrow(
      "more than the 2 files",
    );
  });
});

describe("an archive of anybody's", () => {
  const outside = () => readdirSync(top).sort();

  test.each([
    ["climbs", archiveOf({ path: "../x", content: "bad" }), "leaves the directory that is copied to"],
    ["climbs late", archiveOf({ path: "a/../../x", content: "bad" }), "leaves the directory"],
    [
      "goes through a link of its own",
      archiveOf({ path: "l", type: "symlink", linkPath: ".." }, { path: "l/x", content: "bad" }),
      "is a symbolic link, which is not followed",
    ],
    [
      "goes through a link of its own to /",
      archiveOf({ path: "l", type: "symlink", linkPath: "/" }, { path: "l/tmp/podrt-bad", content: "bad" }),
      "is a symbolic link, which is not followed",
    ],
    [
      "makes a directory of a link",
      archiveOf(
        { path: "l", type: "symlink", linkPath: ".." },
        { path: "l", type: "directory", mode: 0o777 },
      ),
      '"l" is there already, and no directory',
    ],
    [
      "makes a hard link to what is outside",
      archiveOf({ path: "x", type: "hardlink", linkPath: "../from/secret" }),
      "leaves the directory",
    ],
    [
      "makes a hard link through a link",
      archiveOf(
        { path: "l", type: "symlink", linkPath: "../from" },
        { path: "x", type: "hardlink", linkPath: "l/secret" },
      ),
      "is a symbolic link, which is not followed",
    ],
    ["stops in the middle", archiveOf({ path: "x", content: "0123" }).subarray(0, 514), "truncated"],
    ["is none", Buffer.alloc(1024, "no tar"), "checksum"],
  ])("that %s is refused, and writes nothing outside", (_, archive, message) => {
    writeFileSync(join(from, "secret"), "secret");
    expect(() => unarchived(archive, "/")).toThrow(message);
    expect(outside()).toEqual(["from", "to"]);
    expect(readdirSync(from)).toEqual(["secret"]);
    expect(existsSync("/tmp/podrt-bad")).toBe(false);
    expect(readdirSync(to).filter((name) => name.startsWith(".podrt-cp"))).toEqual([]);
    expect(readdirSync(to).includes("x")).toBe(false);
  });

  test("has absolute names below its target, and no devices", () => {
    const archive = archiveOf(
      { path: "/etc/x", content: "inside" },
      { path: "disk", type: "block", deviceMajor: 8, mode: 0o666 },
      { path: "null", type: "char", deviceMajor: 1, deviceMinor: 3 },
      { path: "pipe", type: "fifo", mode: 0o640 },
    );
    expect(unarchived(archive, "/")).toEqual({ files: 2, bytes: 6, leftOut: 2 });
    expect(readFileSync(join(to, "etc/x"), "utf8")).toBe("inside");
    expect(readdirSync(to).sort()).toEqual(["etc", "pipe"]);
    expect(statSync(join(to, "pipe")).mode & 0o777).toBe(0o640);
  });

  test("is bounded, and must be of what was asked for", () => {
    const archive = archiveOf({ path: "x", content: "0123456789" });
    expect(() => unarchived(archive, "/", undefined, { ...COPY_BOUNDS, maxBytes: 9 })).toThrow(
      "more than the 9 bytes",
    );
    expect(() => unarchived(archive, "/", undefined, { ...COPY_BOUNDS, maxFiles: 0 })).toThrow(
      "more than the 0 files",
    );
    expect(() => unarchived(archive, "/", "wanted")).toThrow('entry "x" is not below "wanted"');
    expect(readdirSync(to)).toEqual([]);
  });
});
