// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { type LayerBench, openLayerBench, xattr } from "../fixtures/layer-bench.ts";
import type { TarMember } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";

// Owners, devices and overlayfs's own attributes are for root alone.
const suite = process.getuid?.() === 0 ? describe : describe.skip;

let bench: LayerBench;
beforeEach(() => {
  bench = openLayerBench();
});
afterEach(() => bench[Symbol.dispose]());

suite(`metadata`, () => {
  test("modes, owners, times and device numbers are exact, whatever the umask", async () => {
    const umask = process.umask(0o077);
    const directory = await bench.unpack([
      { name: "./", type: "5", mode: 0o751, uid: 7, gid: 8, mtime: 1_000_000_000 },
      { name: "./tmp", type: "5", mode: 0o1777, mtime: 1_100_000_000 },
      { name: "./tmp/su", content: "x", mode: 0o6755, uid: 1000, gid: 2000, pax: { mtime: "5.000000007" } },
      { name: "./tmp/null", type: "3", mode: 0o666, deviceMajor: 1, deviceMinor: 3 },
      { name: "./tmp/disk", type: "4", mode: 0o640, gid: 6, deviceMajor: 259, deviceMinor: 70_000 },
      { name: "./tmp/pipe", type: "6", mode: 0o622 },
      { name: "./tmp/link", type: "2", linkName: "/no/where", uid: 5, mtime: -3 },
      { name: "./tmp/hard", type: "1", linkName: "./tmp/su", uid: 9, mode: 0 },
    ]);
    process.umask(umask);
    const listed = listTree(directory);
    const brief = Object.fromEntries(
      Object.entries(listed).map(([path, { type, mode, owner }]) => [path, `${type} ${mode} ${owner}`]),
    );
    expect(brief).toEqual({
      "": "directory 751 7:8",
      tmp: "directory 1777 0:0",
      "tmp/su": "file 6755 1000:2000",
      "tmp/null": "char 666 0:0",
      "tmp/disk": "block 640 0:6",
      "tmp/pipe": "fifo 622 0:0",
      "tmp/link": "symlink  5:0",
      "tmp/hard": "file 6755 1000:2000",
    });
    expect(listed["tmp/su"]?.mtimeNs).toBe(5_000_000_007n);
    expect(listed["tmp/link"]?.mtimeNs).toBe(-3_000_000_000n);
    expect(listed["tmp"]?.mtimeNs).toBe(1_100_000_000_000_000_000n);
    expect(listed[""]?.mtimeNs).toBe(1_000_000_000_000_000_000n);
    expect(statSync(join(directory, "tmp/hard")).nlink).toBe(2);
    const numbers = execFileSync("stat", [
      "-c",
      "%t:%T",
      join(directory, "tmp/null"),
      join(directory, "tmp/disk"),
    ]);
    expect(numbers.toString()).toBe("1:3\n103:11170\n");
  });

  test("attributes are kept, but none by which a layer could steer overlayfs", async () => {
    // struct vfs_cap_data of revision 2 with CAP_NET_RAW, as `setcap cap_net_raw+ep` writes it.
    const capability = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const hostile = {
      "SCHILY.xattr.trusted.overlay.opaque": "y",
      "SCHILY.xattr.trusted.overlay.redirect": "/etc",
      "SCHILY.xattr.user.overlay.opaque": "y",
      "SCHILY.xattr.security.selinux": "x",
      "SCHILY.xattr.trusted.other": "x",
    };
    const directory = await bench.unpack([
      { name: "dir", type: "5", pax: { ...hostile, "SCHILY.xattr.user.note": "line\nand\0more" } },
      { name: "ping", uid: 5, pax: { ...hostile, "SCHILY.xattr.security.capability": capability } },
    ]);
    const [dir, ping] = [join(directory, "dir"), join(directory, "ping")];
    expect(xattr(dir, "user.note")).toBe("line\nand\0more");
    expect(xattr(ping, "security.capability")).toBe(capability);
    for (const name of Object.keys(hostile).map((key) => key.slice("SCHILY.xattr.".length))) {
      expect([name, xattr(dir, name), xattr(ping, name)]).toEqual([name, undefined, undefined]);
    }
  });

  test("names that are no UTF-8 and long ones keep their bytes", async () => {
    const long = Array.from({ length: 15 }, (_, i) => `${i}`.repeat(200).slice(0, 250)).join("/");
    const directory = await bench.unpack([
      { name: "\xff\xfe/\x80", content: "raw" },
      { name: long, content: "deep" },
    ]);
    const [name] = readdirSync(directory, { encoding: "buffer" }).filter((entry) => entry[0] === 0xff);
    expect(name?.toString("latin1")).toBe("\xff\xfe");
    expect(readFileSync(join(directory, long), "utf8")).toBe("deep");
  });

  test("directories that a layer does not list look as in the layers below", async () => {
    const bottom = await bench.unpack([
      { name: "./", type: "5", mode: 0o710, uid: 3 },
      {
        name: "srv",
        type: "5",
        mode: 0o2750,
        uid: 11,
        gid: 12,
        mtime: 7,
        pax: { "SCHILY.xattr.user.a": "b" },
      },
      { name: "srv/link", type: "2", linkName: "/etc" },
    ]);
    const middle = await bench.unpack([{ name: "other", content: "" }], [bottom]);
    const top = await bench.unpack(
      [{ name: "srv/new/file", content: "x" }, { name: "srv/link/x" }],
      [bottom, middle],
    );
    const listed = listTree(top);
    expect(listed[""]).toMatchObject({ mode: "710", owner: "3:0" });
    expect(listed["srv"]).toMatchObject({ mode: "2750", owner: "11:12", mtimeNs: 7_000_000_000n });
    expect(xattr(join(top, "srv"), "user.a")).toBe("b");
    expect(listed["srv/new"]).toMatchObject({ mode: "755", owner: "0:0" });
    expect(listed["srv/link"]).toMatchObject({ type: "directory", mode: "755" });
  });
});

suite(`replacement and links`, () => {
  test("later entries replace earlier ones of any kind", async () => {
    const directory = await bench.unpack([
      { name: "file", content: "first, and longer" },
      { name: "file", content: "second" },
      { name: "a/b/c", content: "x" },
      { name: "a", content: "now a file" },
      { name: "f", content: "x" },
      { name: "f/", type: "5", mode: 0o700 },
      { name: "f/inside", content: "x" },
      { name: "l", type: "2", linkName: "f" },
      { name: "l/through", content: "x" },
      { name: "l", type: "5", mode: 0o700 },
      { name: "l/own", content: "x" },
      { name: "d/x", content: "kept" },
      { name: "d", type: "5", mode: 0o711 },
    ]);
    expect(Object.keys(listTree(directory)).sort()).toEqual(
      ["", "a", "d", "d/x", "f", "f/inside", "f/through", "file", "l", "l/own"].sort(),
    );
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("second");
    expect(readFileSync(join(directory, "a"), "utf8")).toBe("now a file");
    expect(lstatSync(join(directory, "d")).mode & 0o777).toBe(0o711);
  });

  test("replacing one name of a hard-linked file leaves the other", async () => {
    const directory = await bench.unpack([
      { name: "a", content: "shared" },
      { name: "b", type: "1", linkName: "a" },
      { name: "b", type: "1", linkName: "b" },
      { name: "a", content: "new" },
    ]);
    expect(readFileSync(join(directory, "b"), "utf8")).toBe("shared");
    expect(readFileSync(join(directory, "a"), "utf8")).toBe("new");
  });

  test("links lead to places inside, and nothing is written through the last one", async () => {
    const directory = await bench.unpack([
      { name: "abs", type: "2", linkName: "/" },
      { name: "abs/etc/passwd", content: "inside" },
      { name: "up", type: "2", linkName: "../../../.." },
      { name: "up/up/up/file", content: "inside" },
      { name: "dangling", type: "2", linkName: "/run/not/yet" },
      { name: "dangling/file", content: "inside" },
      { name: "last", type: "2", linkName: "/etc/passwd" },
      { name: "last", content: "replaced" },
      { name: "hard", type: "1", linkName: "up/up/abs/etc/passwd" },
      { name: "hardsym", type: "1", linkName: "dangling" },
    ]);
    const inside = (path: string) => readFileSync(join(directory, path), "utf8");
    expect(["etc/passwd", "file", "run/not/yet/file", "hard"].map(inside)).toEqual(Array(4).fill("inside"));
    expect(inside("last")).toBe("replaced");
    expect(readlinkSync(join(directory, "hardsym"))).toBe("/run/not/yet");
  });

  test.each<[string, TarMember[], string]>([
    ["a name that climbs out", [{ name: "a/../../x" }], 'entry "a/../../x" leaves the layer\'s root'],
    ["a directory that is the parent", [{ name: "..", type: "5" }], 'entry ".." leaves'],
    [
      "a hard link that climbs out",
      [{ name: "x", type: "1", linkName: "../etc/passwd" }],
      "leaves the layer's root",
    ],
    [
      "a hard link to a file of the host",
      [{ name: "x", type: "1", linkName: "/etc/passwd" }],
      'entry "x" is a hard link to "/etc/passwd", which the layer does not have before it',
    ],
    [
      "a hard link through a link to the host",
      [
        { name: "out", type: "2", linkName: "/etc" },
        { name: "x", type: "1", linkName: "out/passwd" },
      ],
      "which the layer does not have",
    ],
    [
      "a root that is a file",
      [{ name: "./", content: "x", type: "2", linkName: "x" }],
      "is the root but no directory",
    ],
    [
      "a path through a file",
      [
        { name: "f", content: "" },
        { name: "f/x", content: "" },
      ],
      'entry "f/x": mkdirat',
    ],
    [
      "a loop of links",
      [
        { name: "loop", type: "2", linkName: "loop" },
        { name: "loop/x", content: "" },
      ],
      "ELOOP",
    ],
    ["a component that is too long", [{ name: "n".repeat(300) }], "ENAMETOOLONG"],
    ["an impossible device", [{ name: "d", type: "3", deviceMajor: 5000 }], "device number 5000:0"],
    ["a link without a target", [{ name: "l", type: "2" }], "symlinkat"],
    [
      "a hard link to a directory",
      [
        { name: "d", type: "5" },
        { name: "l", type: "1", linkName: "d" },
      ],
      'entry "l" is a hard link to a directory',
    ],
  ])("%s is refused by name", async (_, members, sentence) => {
    expect(await bench.refusal(members)).toContain(sentence);
  });
});
