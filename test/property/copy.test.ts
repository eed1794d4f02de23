// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { readTree } from "../../src/copy/read-tree.ts";
import { CONTENT, openTarget } from "../../src/copy/tree-place.ts";
import { createTreeWriter } from "../../src/copy/write-tree.ts";
import { PodrtError } from "../../src/errors.ts";
import { createTarReader } from "../../src/image/tar-reader.ts";
import { O_DIRECTORY, O_PATH } from "../../src/linux/abi/fcntl.ts";
import { open } from "../../src/linux/fd.ts";
import { removeTree } from "../../src/linux/tree.ts";
import { benignTree, hostileMember } from "../fixtures/tar-members.ts";
import { tarOf } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

let base: string;
let runs = 0;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-copy-"));
});

afterEach(() => {
  using parent = open(tmpdir(), O_PATH | O_DIRECTORY);
  removeTree(parent.number, base);
});

/** Makes files below `directory` of an archive, in pieces of `chunkBytes`. */
function write(archive: Uint8Array, directory: string, topName: string | undefined, chunkBytes = 1000): void {
  using root = open(directory, O_PATH | O_DIRECTORY);
  using target = openTarget(root.number, "/", directory);
  using writer = createTreeWriter({ target, topName, adapt: (entry) => entry });
  const reader = createTarReader(writer);
  for (let at = 0; at < archive.length; at += chunkBytes) reader.push(archive.subarray(at, at + chunkBytes));
  reader.finish();
  writer.finish();
}

async function read(directory: string): Promise<Buffer> {
  using root = open(directory, O_PATH | O_DIRECTORY);
  const parts: Uint8Array[] = [];
  const source = { rootFd: root.number, path: "/", shown: directory, followLink: false };
  await readTree(source, (bytes) => void parts.push(bytes.slice()));
  return Buffer.concat(parts);
}

/** All below a directory, which itself keeps what it has. */
function contentOf(directory: string) {
  return Object.entries(listTree(directory)).filter(([path]) => path !== "");
}

test("a tree that is copied is the same tree, names of any bytes included", async () => {
  await fc.assert(
    fc.asyncProperty(benignTree, fc.integer({ min: 1, max: 3000 }), async (members, chunkBytes) => {
      const [first, second] = [join(base, `first-${runs}`), join(base, `second-${runs++}`)];
      mkdirSync(first);
      mkdirSync(second);
      write(tarOf(members), first, undefined, chunkBytes);
      write(await read(first), second, CONTENT, chunkBytes);
      expect(contentOf(second)).toEqual(contentOf(first));
    }),
    fuzz(30),
  );
});

test("no sequence of hostile entries touches anything outside the target, or leaves half a file", async () => {
  let copied = 0;
  fc.assert(
    fc.property(fc.array(hostileMember, { minLength: 1, maxLength: 6 }), (members) => {
      const directory = join(base, `run-${runs++}`);
      const [outside, target] = [join(directory, "outside"), join(directory, "target")];
      for (const path of [outside, target]) mkdirSync(path, { recursive: true });
      writeFileSync(join(outside, "canary"), "alive", { mode: 0o600 });
      symlinkSync("canary", join(outside, "link"));
      // Links that are there already are as bad as those of the archive.
      symlinkSync("../outside", join(target, "up"));
      symlinkSync(outside, join(target, "out"));
      const before = listTree(outside);
      try {
        write(tarOf(members), target, undefined);
        copied += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(PodrtError);
      }
      expect(listTree(outside)).toEqual(before);
      expect(readdirSync(directory).sort()).toEqual(["outside", "target"]);
      expect(Object.keys(listTree(target)).filter((path) => path.includes(".podrt-cp-"))).toEqual([]);
    }),
    fuzz(150),
  );
  expect(copied).toBeGreaterThan(10);
});
