// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { announceLayers } from "../../src/image/awaited-layers.ts";
import { startUnpacker, type Unpacker, type UnpackResult } from "../../src/image/unpack.ts";
import { UNPACK_LIMITS, unpackLayer } from "../../src/image/unpack-layer.ts";
import { LAYER, type LayerBench, openLayerBench } from "../fixtures/layer-bench.ts";
import { tarOf } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";
import { eventually } from "./harness/eventually.ts";

// Owners, devices and overlayfs's own attributes are for root alone.
const suite = process.getuid?.() === 0 ? describe : describe.skip;

let bench: LayerBench;
beforeEach(() => {
  bench = openLayerBench();
});
afterEach(() => bench[Symbol.dispose]());

suite(`compression and bounds`, () => {
  const archive = tarOf([{ name: "file", content: "x".repeat(100_000) }]);
  const diffId = `sha256:${new Bun.CryptoHasher("sha256").update(archive).digest("hex")}`;
  const half = archive.length / 2;

  async function unpackBytes(bytes: Uint8Array, mediaType: string): Promise<UnpackResult | string> {
    return unpackLayer({ ...bench.writeBlob(bytes), mediaType }).catch((error: Error) => error.message);
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
    const blob = bench.writeBlob(
      zstdCompressSync(tarOf([{ name: "zeros", content: new Uint8Array(64 << 20) }])),
    );
    const limits = { ...UNPACK_LIMITS, ratioFreeBytes: 1 << 20 };
    const bomb = unpackLayer({ ...blob, mediaType: `${LAYER}+zstd` }, undefined, limits);
    await expect(bomb).rejects.toThrow(
      /unpacks to more than [0-9]+ bytes, which only a decompression bomb does/,
    );
    expect(lstatSync(join(blob.targetDir, "zeros")).size).toBeLessThan(8 << 20);
  });

  test("a full disk is named as such", async () => {
    const full = join(bench.base, "full");
    mkdirSync(full);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", full]);
    try {
      const blob = bench.writeBlob(archive);
      const attempt = unpackLayer({ ...blob, mediaType: LAYER, targetDir: full });
      await expect(attempt).rejects.toThrow(/entry "file": write: ENOSPC.*no space left/);
      await attempt.catch((error) => expect(error.kind).toBe("ResourceExhausted"));
    } finally {
      execFileSync("umount", [full]);
    }
  });
});

suite(`the unpacker's threads`, () => {
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
      [1, 2, 3].map(() => unpacker.unpack({ ...bench.writeBlob(archive), mediaType: LAYER })),
    );
    clearInterval(timer);
    expect(results.map(({ inodes }) => inodes)).toEqual([807, 807, 807]);
    expect(ticks).toBeGreaterThan(3);
  });

  test("a layer is unpacked before those below it are there, and is as if it had come after them", async () => {
    const below = await bench.unpack([
      { name: "./", type: "5", mode: 0o751, uid: 7 },
      { name: "opt", type: "5", mode: 0o1770, uid: 1000, gid: 50 },
      { name: "opt/old", content: "old" },
    ]);
    const blob = bench.writeBlob(
      tarOf([
        { name: "first", content: "1" },
        { name: "opt/new", content: "new" },
        { name: "opt/.wh.old" },
        { name: "opt/.wh.never" },
      ]),
    );
    const announcement = announceLayers();
    const work = unpacker.unpack({ ...blob, mediaType: LAYER, awaitedLower: announcement.shared });
    await eventually("the thread has come to where it waits", async () =>
      readdirSync(blob.targetDir).includes("first"),
    );
    announcement.ready([below]);
    await work;
    const listed = listTree(blob.targetDir);
    const brief = (path: string) => `${listed[path]?.mode} ${listed[path]?.owner}`;
    expect([brief(""), brief("opt")]).toEqual(["751 7:0", "1770 1000:50"]);
    expect(Object.keys(listed).sort()).toEqual(["", "first", "opt", "opt/new", "opt/old"]);
    const vain = announceLayers();
    const second = bench.writeBlob(tarOf([{ name: "opt/new", content: "new" }]));
    const refused = unpacker.unpack({ ...second, mediaType: LAYER, awaitedLower: vain.shared });
    vain.fail();
    await expect(refused).rejects.toThrow("a layer below it was not unpacked");
  });

  test("errors keep their kind and sentence on the way back", async () => {
    const blob = bench.writeBlob(tarOf([{ name: "../x" }]));
    const refused = unpacker.unpack({ ...blob, mediaType: LAYER });
    await expect(refused).rejects.toThrow('layer blob-0: entry "../x" leaves the layer\'s root');
    await refused.catch((error) => expect(error.kind).toBe("InvalidArgument"));
  });

  test("an abort ends the work: nothing is written any more once the promise has settled", async () => {
    const big = gzipSync(
      tarOf(Array.from({ length: 200 }, (_, i) => ({ name: `f${i}`, content: new Uint8Array(1 << 20) }))),
    );
    const blob = bench.writeBlob(big);
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
    const after = await unpacker.unpack({ ...bench.writeBlob(tarOf([{ name: "x" }])), mediaType: LAYER });
    expect(after.inodes).toBe(1);
  });

  test("memory stays bounded however large the layer is", async () => {
    const huge = tarOf([{ name: "huge", content: new Uint8Array(300 << 20) }]);
    const blob = bench.writeBlob(gzipSync(huge, { level: 1 }));
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
