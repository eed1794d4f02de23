// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { readArchive } from "../../src/checkpoint/archive-reader.ts";
import { PodrtError } from "../../src/errors.ts";
import { archiveMembers } from "../fixtures/checkpoint-archive.ts";
import { type TarMember, tarOf } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";
import { fuzz, fuzzTimeoutMs, mutatedBytes } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-archives-"));
});
afterEach(() => rmSync(base, { recursive: true }));

const hostileMember: fc.Arbitrary<TarMember> = fc.record({
  name: fc.constantFrom(
    "checkpoint/a.img",
    "checkpoint/../../escaped",
    "../escaped",
    "/escaped",
    "config.dump",
    "rootfs-diff.tar",
    "checkpoint",
    "checkpoint/./x",
    "checkpoint/a/b",
    "checkpoint/\xff\xfe",
    "",
  ),
  type: fc.constantFrom("0", "0", "1", "2", "3", "4", "5", "6", "7", "S", "x", "\x9b"),
  linkName: fc.constantFrom("", "/etc/passwd", "../escaped", "config.dump"),
  content: fc.uint8Array({ maxLength: 600 }),
  statedSize: fc.constantFrom(0, 1, 600, 2 ** 33, 2 ** 50),
});
const archives = fc.oneof(
  mutatedBytes(tarOf(archiveMembers())),
  fc
    .tuple(fc.array(hostileMember, { maxLength: 3 }), fc.nat(5))
    .map(([members, place]) => tarOf(archiveMembers().toSpliced(place, 0, ...members))),
  fc.subarray(archiveMembers()).map(tarOf),
);

test("any archive is taken apart into files of known names in its directory, or refused", async () => {
  let runs = 0;
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(archives, async (bytes) => {
      const home = join(base, String(runs++));
      const directory = join(home, "work");
      mkdirSync(directory, { recursive: true });
      const archive = join(home, "archive.tar");
      writeFileSync(archive, bytes);
      try {
        await readArchive(archive, directory);
        taken++;
      } catch (error) {
        expect(error).toBeInstanceOf(PodrtError);
        expect((error as PodrtError).kind).not.toBe("Internal");
        expect((error as PodrtError).message).toMatch(/^[^\p{Cc}]+$/u);
      }
      expect(readdirSync(home).sort()).toEqual(["archive.tar", "work"]);
      for (const [path, { type }] of Object.entries(listTree(directory))) {
        if (path === "" || path === ".") continue;
        expect(path).toMatch(/^(checkpoint|rootfs-diff\.tar|checkpoint\/[A-Za-z0-9_-][A-Za-z0-9._-]*)$/);
        expect(type).toBe(path === "checkpoint" ? "directory" : "file");
      }
      rmSync(home, { recursive: true });
    }),
    fuzz(200),
  );
  expect(taken).toBeGreaterThan(5);
});
