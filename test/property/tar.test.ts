// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { PodrtError } from "../../src/errors.ts";
import type { TarEntry } from "../../src/image/tar-entry.ts";
import { createTarReader } from "../../src/image/tar-reader.ts";
import { unpackLayer } from "../../src/image/unpack-layer.ts";
import { O_DIRECTORY, O_PATH } from "../../src/linux/abi/fcntl.ts";
import { open } from "../../src/linux/fd.ts";
import { removeTree } from "../../src/linux/tree.ts";
import { benignTree, hostileMember, member } from "../fixtures/tar-members.ts";
import { type TarMember, tarOf } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar";

let base: string;
let runs = 0;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-tar-"));
});

afterEach(() => {
  using parent = open(tmpdir(), O_PATH | O_DIRECTORY);
  removeTree(parent.number, base);
});

test("whatever is written is read back, however the archive is cut", () => {
  fc.assert(
    fc.property(
      fc.array(member, { maxLength: 12 }),
      fc.integer({ min: 1, max: 3000 }),
      (members, chunkBytes) => {
        const archive = tarOf(members);
        const read: { entry: TarEntry; content: Buffer }[] = [];
        const reader = createTarReader({
          entry: (entry) => void read.push({ entry, content: Buffer.alloc(0) }),
          data: (bytes) => {
            const last = read.at(-1) as (typeof read)[number];
            last.content = Buffer.concat([last.content, bytes]);
          },
          end() {},
        });
        for (let at = 0; at < archive.length; at += chunkBytes) {
          reader.push(archive.subarray(at, at + chunkBytes));
        }
        reader.finish();
        expect(read.map(({ entry, content }) => ({ ...entry, content }))).toMatchObject(
          members.map(({ name, content, mtime, ...rest }) => ({
            ...rest,
            path: name,
            content: Buffer.from(content as Uint8Array),
            mtimeSeconds: mtime as number,
          })),
        );
      },
    ),
    fuzz(200),
  );
});

test("bytes that are no archive never do more than fail in one sentence", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(member, { maxLength: 5 }), damage, (members, changes) => {
      const archive = tarOf(members);
      for (const [at, value] of changes) archive[at % archive.length] = value;
      const reader = createTarReader({ entry() {}, data() {}, end() {} });
      try {
        reader.push(archive);
        reader.finish();
      } catch (error) {
        expect(error).toBeInstanceOf(PodrtError);
      }
    }),
    fuzz(300),
  );
});

/** Unpacks to a new directory below `base`; what the layer is refused for is returned. */
async function unpack(members: readonly TarMember[]): Promise<{ target: string; error?: unknown }> {
  const directory = join(base, `run-${runs++}`);
  const [blobPath, target] = [join(directory, "layer.tar"), join(directory, "target")];
  mkdirSync(target, { recursive: true });
  writeFileSync(blobPath, tarOf(members));
  try {
    await unpackLayer({ blobPath, mediaType: PLAIN_LAYER, targetDir: target });
    return { target };
  } catch (error) {
    return { target, error };
  }
}

test("benign trees come out as GNU tar unpacks them", async () => {
  await fc.assert(
    fc.asyncProperty(benignTree, async (members) => {
      const { target, error } = await unpack(members);
      expect(error).toBeUndefined();
      const reference = join(target, "../reference");
      mkdirSync(reference);
      const umask = process.umask(0o022);
      execFileSync("tar", ["-C", reference, "-xpf", join(target, "../layer.tar")], { stdio: "pipe" });
      process.umask(umask);
      const [ours, theirs] = [target, reference].map((tree) => {
        const listed = listTree(tree);
        // Directories that the archive does not list are made now, by both.
        const isListed = (path: string) => members.some(({ name }) => name === path);
        return Object.entries(listed).map(([path, entry]) =>
          entry.type === "directory" && !isListed(path) ? [path, { ...entry, mtimeNs: 0n }] : [path, entry],
        );
      });
      expect(ours).toEqual(theirs as typeof ours & {});
    }),
    fuzz(40),
  );
});

test("no sequence of hostile entries touches anything outside the target", async () => {
  let unpacked = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(hostileMember, { minLength: 1, maxLength: 12 }), async (members) => {
      const outside = join(base, `run-${runs}`, "outside");
      mkdirSync(outside, { recursive: true });
      writeFileSync(join(outside, "canary"), "alive", { mode: 0o600 });
      symlinkSync("canary", join(outside, "link"));
      const before = listTree(outside);
      const parentBefore = lstatSync(join(outside, ".."), { bigint: true }).ino;
      const { target, error } = await unpack(members);
      if (error === undefined) unpacked += 1;
      else expect(error).toBeInstanceOf(PodrtError);
      expect(listTree(outside)).toEqual(before);
      expect(readdirSync(join(target, "..")).sort()).toEqual(["layer.tar", "outside", "target"]);
      expect(lstatSync(join(target, ".."), { bigint: true }).ino).toBe(parentBefore);
    }),
    fuzz(300),
  );
  expect(unpacked).toBeGreaterThan(10);
});
