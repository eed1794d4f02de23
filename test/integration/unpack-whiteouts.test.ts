// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isOpaque, isWhiteout, type LayerBench, openLayerBench } from "../fixtures/layer-bench.ts";
import type { TarMember } from "../fixtures/tar-writer.ts";

// Owners, devices and overlayfs's own attributes are for root alone.
const suite = process.getuid?.() === 0 ? describe : describe.skip;

let bench: LayerBench;
beforeEach(() => {
  bench = openLayerBench();
});
afterEach(() => bench[Symbol.dispose]());

suite(`whiteouts`, () => {
  const bottomMembers: TarMember[] = [
    { name: "gone", content: "bottom" },
    { name: "dir", type: "5", mode: 0o755 },
    { name: "dir/old", content: "bottom" },
    { name: "dir/sub/older", content: "bottom" },
    { name: "keep", content: "bottom" },
  ];

  test("a deletion is a character device 0/0, or an attribute of the directory", async () => {
    const bottom = await bench.unpack(bottomMembers);
    const top = await bench.unpack(
      [{ name: ".wh.gone" }, { name: "dir/.wh..wh..opq" }, { name: "dir/new", content: "top" }],
      [bottom],
    );
    expect(isWhiteout(join(top, "gone"))).toBe(true);
    expect(isOpaque(join(top, "dir"))).toBe(true);
    expect(readdirSync(top).sort()).toEqual(["dir", "gone"]);
    expect(bench.stacked([bottom, top])).toEqual({ dir: "directory", "dir/new": "top", keep: "bottom" });
  });

  test.each([
    ["before", (own: TarMember[], deletions: TarMember[]) => [...deletions, ...own]],
    ["after", (own: TarMember[], deletions: TarMember[]) => [...own, ...deletions]],
  ])("deletions %s the layer's own entries touch only what is below", async (_, order) => {
    const bottom = await bench.unpack(bottomMembers);
    const own = [
      { name: "gone", content: "top" },
      { name: "dir/", type: "5", mode: 0o700 },
      { name: "dir/sub/new", content: "top" },
    ];
    const deletions = [{ name: ".wh.gone" }, { name: ".wh.dir" }, { name: ".wh.never-there" }];
    const top = await bench.unpack(order(own, deletions), [bottom]);
    expect(bench.stacked([bottom, top])).toEqual({
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
    const bottom = await bench.unpack(bottomMembers);
    const implicit = await bench.unpack(
      [{ name: ".wh.dir" }, { name: "dir/sub/new", content: "top" }],
      [bottom],
    );
    expect(bench.stacked([bottom, implicit])).toMatchObject({ "dir/sub/new": "top" });
    expect(bench.stacked([bottom, implicit])["dir/old"]).toBeUndefined();
    // Without knowledge of what is below, every deletion is written.
    const blind = await bench.unpack([
      { name: ".wh.dir" },
      { name: "dir/new", content: "top" },
      { name: ".wh.x" },
    ]);
    expect(isOpaque(join(blind, "dir"))).toBe(true);
    expect(isWhiteout(join(blind, "x"))).toBe(true);
    expect(bench.stacked([bottom, blind])["dir/old"]).toBeUndefined();
  });

  test("deletions below an opaque directory, or of what is not there, are not listed as files", async () => {
    const bottom = await bench.unpack(bottomMembers);
    const top = await bench.unpack(
      [
        { name: "dir/sub/.wh.older" },
        { name: "dir/.wh.old" },
        { name: "dir/.wh..wh..opq" },
        { name: "new/.wh.x" },
      ],
      [bottom],
    );
    const alone = await bench.unpack([{ name: ".wh.gone" }, { name: "a/.wh.b" }], []);
    expect(readdirSync(alone)).toEqual(["a"]);
    expect(readdirSync(join(top, "dir"))).toEqual(["sub"]);
    expect(bench.stacked([bottom, top])).toEqual({
      dir: "directory",
      "dir/sub": "directory",
      gone: "bottom",
      keep: "bottom",
      new: "directory",
    });
  });

  test("an opaque root hides all that is below, but not the layer's own", async () => {
    const bottom = await bench.unpack(bottomMembers);
    const middle = await bench.unpack([{ name: "dir/middle", content: "" }, { name: ".wh.keep" }], [bottom]);
    const top = await bench.unpack(
      [{ name: "dir/new", content: "top" }, { name: ".wh..wh..opq" }],
      [bottom, middle],
    );
    expect(bench.stacked([bottom, middle, top])).toEqual({ dir: "directory", "dir/new": "top" });
  });

  test("names that only look like deletions, or delete nothing that can be, are refused or dropped", async () => {
    expect(await bench.refusal([{ name: "a/.wh." }])).toContain("deletes no name that can be");
    expect(await bench.refusal([{ name: ".wh..." }])).toContain("deletes no name that can be");
    const directory = await bench.unpack([{ name: ".wh..wh.plnk", type: "5" }, { name: "a.wh.b" }]);
    expect(readdirSync(directory)).toEqual(["a.wh.b"]);
  });
});
