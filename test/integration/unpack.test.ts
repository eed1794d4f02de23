// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { ResourceExhaustedError } from "../../src/errors.ts";
import { startUnpacker, type Unpacker, type UnpackResult } from "../../src/image/unpack.ts";
import { UNPACK_LIMITS, unpackLayer } from "../../src/image/unpack-layer.ts";
import { O_DIRECTORY, O_PATH } from "../../src/linux/abi/fcntl.ts";
import { open } from "../../src/linux/fd.ts";
import { trySyscall } from "../../src/linux/syscall.ts";
import { removeTree } from "../../src/linux/tree.ts";
import { type TarMember, tarOf } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";

const LAYER = "application/vnd.oci.image.layer.v1.tar";
const skipReason = process.getuid?.() === 0 ? "" : " (skipped: needs root)";
const suite = skipReason === "" ? describe : describe.skip;

let base: string;
let layers: number;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-unpack-"));
  layers = 0;
});

afterEach(() => {
  using parent = open(tmpdir(), O_PATH | O_DIRECTORY);
  removeTree(parent.number, base);
});

function writeBlob(bytes: Uint8Array): { blobPath: string; targetDir: string } {
  const number = layers++;
  const [blobPath, targetDir] = [join(base, `blob-${number}`), join(base, `layer-${number}`)];
  writeFileSync(blobPath, bytes);
  mkdirSync(targetDir);
  return { blobPath, targetDir };
}

/** Unpacks a layer on those given, bottom first; answers its directory. */
async function unpack(members: readonly TarMember[], below?: readonly string[]): Promise<string> {
  const blob = writeBlob(tarOf(members));
  const lowerDirs = below?.toReversed();
  await unpackLayer({ ...blob, mediaType: LAYER, ...(lowerDirs === undefined ? {} : { lowerDirs }) });
  return blob.targetDir;
}

function refusal(members: readonly TarMember[]): Promise<string> {
  return unpack(members).then(
    () => "accepted",
    (error: Error) => error.message,
  );
}

function xattr(path: string, name: string): string | undefined {
  const value = new Uint8Array(1024);
  const size = trySyscall("lgetxattr", path, name, value, value.length);
  return size < 0 ? undefined : Buffer.from(value.subarray(0, size)).toString("latin1");
}

function isWhiteout(path: string): boolean {
  const stat = lstatSync(path);
  return stat.isCharacterDevice() && stat.rdev === 0;
}

const isOpaque = (path: string) => xattr(path, "trusted.overlay.opaque") === "y";

/** What a container would see: all names and contents of the layers, stacked by overlayfs itself. */
function stacked(directories: readonly string[]): Record<string, string> {
  const mountPoint = join(base, "merged");
  mkdirSync(mountPoint, { recursive: true });
  const lowerdir = [...directories.toReversed(), mkdtempSync(join(base, "empty-"))].join(":");
  execFileSync("mount", ["-t", "overlay", "overlay", "-o", `ro,lowerdir=${lowerdir}`, mountPoint]);
  try {
    const listed = Object.entries(listTree(mountPoint)).filter(([path]) => path !== "");
    return Object.fromEntries(
      listed.map(([path, { type, content }]) => [path, type === "file" ? content : type]),
    );
  } finally {
    execFileSync("umount", [mountPoint]);
  }
}

suite(`metadata${skipReason}`, () => {
  test("modes, owners, times and device numbers are exact, whatever the umask", async () => {
    const umask = process.umask(0o077);
    const directory = await unpack([
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
    const directory = await unpack([
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
    const directory = await unpack([
      { name: "\xff\xfe/\x80", content: "raw" },
      { name: long, content: "deep" },
    ]);
    const [name] = readdirSync(directory, { encoding: "buffer" }).filter((entry) => entry[0] === 0xff);
    expect(name?.toString("latin1")).toBe("\xff\xfe");
    expect(readFileSync(join(directory, long), "utf8")).toBe("deep");
  });

  test("directories that a layer does not list look as in the layers below", async () => {
    const bottom = await unpack([
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
    const middle = await unpack([{ name: "other", content: "" }], [bottom]);
    const top = await unpack(
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

suite(`whiteouts${skipReason}`, () => {
  const bottomMembers: TarMember[] = [
    { name: "gone", content: "bottom" },
    { name: "dir", type: "5", mode: 0o755 },
    { name: "dir/old", content: "bottom" },
    { name: "dir/sub/older", content: "bottom" },
    { name: "keep", content: "bottom" },
  ];

  test("a deletion is a character device 0/0, or an attribute of the directory", async () => {
    const bottom = await unpack(bottomMembers);
    const top = await unpack(
      [{ name: ".wh.gone" }, { name: "dir/.wh..wh..opq" }, { name: "dir/new", content: "top" }],
      [bottom],
    );
    expect(isWhiteout(join(top, "gone"))).toBe(true);
    expect(isOpaque(join(top, "dir"))).toBe(true);
    expect(readdirSync(top).sort()).toEqual(["dir", "gone"]);
    expect(stacked([bottom, top])).toEqual({ dir: "directory", "dir/new": "top", keep: "bottom" });
  });

  test.each([
    ["before", (own: TarMember[], deletions: TarMember[]) => [...deletions, ...own]],
    ["after", (own: TarMember[], deletions: TarMember[]) => [...own, ...deletions]],
  ])("deletions %s the layer's own entries touch only what is below", async (_, order) => {
    const bottom = await unpack(bottomMembers);
    const own = [
      { name: "gone", content: "top" },
      { name: "dir/", type: "5", mode: 0o700 },
      { name: "dir/sub/new", content: "top" },
    ];
    const deletions = [{ name: ".wh.gone" }, { name: ".wh.dir" }, { name: ".wh.never-there" }];
    const top = await unpack(order(own, deletions), [bottom]);
    expect(stacked([bottom, top])).toEqual({
      dir: "directory",
      "dir/sub": "directory",
      "dir/sub/new": "top",
      gone: "top",
      keep: "bottom",
    });
    expect(lstatSync(join(top, "dir")).mode & 0o7777).toBe(0o700);
    expect(existsSync(join(top, "never-there"))).toBe(false);
  });

  test("a directory that takes a deletion's place is opaque, listed or not", async () => {
    const bottom = await unpack(bottomMembers);
    const implicit = await unpack([{ name: ".wh.dir" }, { name: "dir/sub/new", content: "top" }], [bottom]);
    expect(stacked([bottom, implicit])).toMatchObject({ "dir/sub/new": "top" });
    expect(stacked([bottom, implicit])["dir/old"]).toBeUndefined();
    // Without knowledge of what is below, every deletion is written.
    const blind = await unpack([{ name: ".wh.dir" }, { name: "dir/new", content: "top" }, { name: ".wh.x" }]);
    expect(isOpaque(join(blind, "dir"))).toBe(true);
    expect(isWhiteout(join(blind, "x"))).toBe(true);
    expect(stacked([bottom, blind])["dir/old"]).toBeUndefined();
  });

  test("deletions below an opaque directory, or of what is not there, are not listed as files", async () => {
    const bottom = await unpack(bottomMembers);
    const top = await unpack(
      [
        { name: "dir/sub/.wh.older" },
        { name: "dir/.wh.old" },
        { name: "dir/.wh..wh..opq" },
        { name: "new/.wh.x" },
      ],
      [bottom],
    );
    const alone = await unpack([{ name: ".wh.gone" }, { name: "a/.wh.b" }], []);
    expect(readdirSync(alone)).toEqual(["a"]);
    expect(readdirSync(join(top, "dir"))).toEqual(["sub"]);
    expect(stacked([bottom, top])).toEqual({
      dir: "directory",
      "dir/sub": "directory",
      gone: "bottom",
      keep: "bottom",
      new: "directory",
    });
  });

  test("an opaque root hides all that is below, but not the layer's own", async () => {
    const bottom = await unpack(bottomMembers);
    const middle = await unpack([{ name: "dir/middle", content: "" }, { name: ".wh.keep" }], [bottom]);
    const top = await unpack(
      [{ name: "dir/new", content: "top" }, { name: ".wh..wh..opq" }],
      [bottom, middle],
    );
    expect(stacked([bottom, middle, top])).toEqual({ dir: "directory", "dir/new": "top" });
  });

  test("names that only look like deletions, or delete nothing that can be, are refused or dropped", async () => {
    expect(await refusal([{ name: "a/.wh." }])).toContain("deletes no name that can be");
    expect(await refusal([{ name: ".wh..." }])).toContain("deletes no name that can be");
    const directory = await unpack([{ name: ".wh..wh.plnk", type: "5" }, { name: "a.wh.b" }]);
    expect(readdirSync(directory)).toEqual(["a.wh.b"]);
  });
});

suite(`replacement and links${skipReason}`, () => {
  test("later entries replace earlier ones of any kind", async () => {
    const directory = await unpack([
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
    const directory = await unpack([
      { name: "a", content: "shared" },
      { name: "b", type: "1", linkName: "a" },
      { name: "b", type: "1", linkName: "b" },
      { name: "a", content: "new" },
    ]);
    expect(readFileSync(join(directory, "b"), "utf8")).toBe("shared");
    expect(readFileSync(join(directory, "a"), "utf8")).toBe("new");
  });

  test("links lead to places inside, and nothing is written through the last one", async () => {
    const directory = await unpack([
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
      "linkat",
    ],
  ])("%s is refused by name", async (_, members, sentence) => {
    expect(await refusal(members)).toContain(sentence);
  });
});

suite(`compression and bounds${skipReason}`, () => {
  const archive = tarOf([{ name: "file", content: "x".repeat(100_000) }]);
  const diffId = `sha256:${new Bun.CryptoHasher("sha256").update(archive).digest("hex")}`;
  const half = archive.length / 2;

  async function unpackBytes(bytes: Uint8Array, mediaType: string): Promise<UnpackResult | string> {
    return unpackLayer({ ...writeBlob(bytes), mediaType }).catch((error: Error) => error.message);
  }

  test.each<[string, Uint8Array, string]>([
    ["plain", archive, LAYER],
    ["gzip", gzipSync(archive), `${LAYER}+gzip`],
    ["zstd", zstdCompressSync(archive), `${LAYER}+zstd`],
    [
      "gzip of several members",
      Buffer.concat([gzipSync(archive.subarray(0, half)), gzipSync(archive.subarray(half))]),
      `${LAYER}+gzip`,
    ],
    [
      "zstd of several frames",
      Buffer.concat([zstdCompressSync(archive.subarray(0, half)), zstdCompressSync(archive.subarray(half))]),
      `${LAYER}+zstd`,
    ],
    ["Docker's gzip", gzipSync(archive), "application/vnd.docker.image.rootfs.diff.tar.gzip"],
    ["Docker's open type", zstdCompressSync(archive), "application/vnd.docker.image.rootfs.diff.tar"],
  ])("%s layers give the same diff id", async (_, bytes, mediaType) => {
    // A page of content, and the inode of the file.
    expect(await unpackBytes(bytes, mediaType)).toEqual({ diffId, sizeBytes: 102_400, inodes: 1 });
  });

  test("what follows the end marks counts for the diff id", async () => {
    const padded = Buffer.concat([archive, Buffer.alloc(8192)]);
    const result = (await unpackBytes(gzipSync(padded), `${LAYER}+gzip`)) as UnpackResult;
    expect(result.diffId).toBe(`sha256:${new Bun.CryptoHasher("sha256").update(padded).digest("hex")}`);
  });

  test("content that is not what its media type says is refused, naming both", async () => {
    expect(await unpackBytes(gzipSync(archive), `${LAYER}+zstd`)).toMatch(/announces zstd, but it is gzip$/);
    expect(await unpackBytes(archive, `${LAYER}+gzip`)).toMatch(
      /announces gzip, but it is no gzip or zstd data$/,
    );
    expect(await unpackBytes(archive, "text/plain")).toContain("media type text/plain is no layer");
    const xz = Buffer.concat([Buffer.from("fd377a585a0000", "hex"), archive]);
    expect(await unpackBytes(xz, LAYER)).toContain("compressed with xz");
  });

  test("damaged and truncated layers say so", async () => {
    const gzip = gzipSync(archive);
    expect(await unpackBytes(gzip.subarray(0, gzip.length - 20), `${LAYER}+gzip`)).toContain(
      "gzip data is damaged",
    );
    expect(await unpackBytes(archive.subarray(0, 5000), LAYER)).toContain("truncated");
    expect(await unpackBytes(Buffer.from("no tar at all".repeat(100)), LAYER)).toContain("no tar archive");
    const damaged = zstdCompressSync(archive);
    damaged.fill(0xff, 6, 12);
    expect(await unpackBytes(damaged, `${LAYER}+zstd`)).toContain("zstd data is damaged");
  });

  test("decompression bombs are stopped early", async () => {
    const blob = writeBlob(zstdCompressSync(tarOf([{ name: "zeros", content: new Uint8Array(64 << 20) }])));
    const limits = { ...UNPACK_LIMITS, ratioFreeBytes: 1 << 20 };
    const bomb = unpackLayer({ ...blob, mediaType: `${LAYER}+zstd` }, undefined, limits);
    await expect(bomb).rejects.toThrow(
      /unpacks to more than [0-9]+ bytes, which only a decompression bomb does/,
    );
    expect(lstatSync(join(blob.targetDir, "zeros")).size).toBeLessThan(8 << 20);
  });

  test("a full disk is named as such", async () => {
    const full = join(base, "full");
    mkdirSync(full);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", full]);
    try {
      const blob = writeBlob(archive);
      const attempt = unpackLayer({ ...blob, mediaType: LAYER, targetDir: full });
      await expect(attempt).rejects.toThrow(/entry "file": write: ENOSPC.*no space left/);
      await attempt.catch((error) => expect(error.kind).toBe(new ResourceExhaustedError("").kind));
    } finally {
      execFileSync("umount", [full]);
    }
  });
});

suite(`the unpacker's threads${skipReason}`, () => {
  let unpacker: Unpacker;
  beforeEach(() => {
    unpacker = startUnpacker(2);
  });
  afterEach(() => unpacker.close());

  test("layers are unpacked at the same time while the event loop goes on", async () => {
    const archive = tarOf(
      Array.from({ length: 800 }, (_, i) => ({ name: `d${i % 7}/f${i}`, content: "x".repeat(3000) })),
    );
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const results = await Promise.all(
      [1, 2, 3].map(() => unpacker.unpack({ ...writeBlob(archive), mediaType: LAYER })),
    );
    clearInterval(timer);
    expect(results.map(({ inodes }) => inodes)).toEqual([807, 807, 807]);
    expect(ticks).toBeGreaterThan(3);
  });

  test("errors keep their kind and sentence on the way back", async () => {
    const blob = writeBlob(tarOf([{ name: "../x" }]));
    const refused = unpacker.unpack({ ...blob, mediaType: LAYER });
    await expect(refused).rejects.toThrow('layer blob-0: entry "../x" leaves the layer\'s root');
    await refused.catch((error) => expect(error.kind).toBe("InvalidArgument"));
  });

  test("an abort ends the work: nothing is written any more once the promise has settled", async () => {
    const big = gzipSync(
      tarOf(Array.from({ length: 200 }, (_, i) => ({ name: `f${i}`, content: new Uint8Array(1 << 20) }))),
    );
    const blob = writeBlob(big);
    const abort = new AbortController();
    const work = unpacker.unpack({ ...blob, mediaType: `${LAYER}+gzip` }, abort.signal);
    while (readdirSync(blob.targetDir).length < 5) await Bun.sleep(1);
    abort.abort();
    await work.then(
      () => expect.unreachable("it was aborted"),
      (error) => expect(error.kind).toBe("Canceled"),
    );
    const left = readdirSync(blob.targetDir).length;
    await Bun.sleep(100);
    expect(readdirSync(blob.targetDir).length).toBe(left);
    expect(left).toBeLessThan(200);
    const after = await unpacker.unpack({ ...writeBlob(tarOf([{ name: "x" }])), mediaType: LAYER });
    expect(after.inodes).toBe(1);
  });

  test("memory stays bounded however large the layer is", async () => {
    const huge = tarOf([{ name: "huge", content: new Uint8Array(300 << 20) }]);
    const blob = writeBlob(gzipSync(huge, { level: 1 }));
    const before = process.memoryUsage.rss();
    let highest = 0;
    const timer = setInterval(() => {
      highest = Math.max(highest, process.memoryUsage.rss());
    }, 5);
    await unpacker.unpack({ ...blob, mediaType: `${LAYER}+gzip` });
    clearInterval(timer);
    expect(highest - before).toBeLessThan(150 << 20);
  });
});
