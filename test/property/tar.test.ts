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
import { type TarMember, tarOf } from "../fixtures/tar-writer.ts";
import { listTree } from "../fixtures/tree-listing.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar";
const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];

let base: string;
let runs = 0;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-tar-"));
});

afterEach(() => {
  using parent = open(tmpdir(), O_PATH | O_DIRECTORY);
  removeTree(parent.number, base);
});

const anyByteString = (constraints: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(constraints).map((bytes) => Buffer.from(bytes).toString("latin1"));

/** A name component of any bytes that a file system takes. */
const component = anyByteString({ minLength: 1, maxLength: 60 }).map((text) => {
  const name = text.replace(/[/\0]/g, "_");
  return /^\.\.?$|^\.wh\./.test(name) ? `x${name}` : name;
});

const member: fc.Arbitrary<TarMember> = fc.record({
  name: fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/")),
  content: fc.uint8Array({ maxLength: 1500 }),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.nat(0xffff_fffe),
  gid: fc.nat(0xffff_fffe),
  mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
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

/** A tree that any archiver can make: unique names, parents first or not listed at all, targets before links. */
const benignTree = fc
  .uniqueArray(fc.tuple(fc.constantFrom("a", "b", "c/d", "e"), component, fc.nat(5)), {
    maxLength: 15,
    selector: ([directory, name]) => `${directory}/${name}`,
  })
  .chain((names) => fc.tuple(fc.constant(names), fc.infiniteStream(member), fc.infiniteStream(component)))
  .map(([names, details, targets]) => {
    const files: string[] = [];
    return names.map(([directory, name, kind]): TarMember => {
      const path = `${directory}/${name}`;
      const { mode = 0, content = "" } = details.next().value as TarMember;
      // Without root's privileges a directory must stay usable while it is filled.
      const usable = uid === 0 ? mode : mode | 0o700;
      const common = { name: path, uid, gid, mtime: 1_500_000_000 + kind, mode: usable };
      const previous = files[0];
      if (kind === 0) return { ...common, type: "5" };
      if (kind === 1) return { ...common, type: "2", linkName: targets.next().value as string };
      if (kind === 2 && previous !== undefined) return { ...common, type: "1", linkName: previous };
      if (kind === 3) return { ...common, type: "6" };
      files.push(path);
      return { ...common, content };
    });
  });

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

const climbing = fc.constantFrom("..", ".", "", "outside", "canary");
const plain = fc.constantFrom("a", "b", "link", "up", "out");
/** Names use `..` now and then, since one that climbs out ends the layer; links use it all the time. */
const hostilePath = (climbingWeight: number) =>
  fc
    .tuple(
      fc.constantFrom("", "/", "./"),
      fc.array(fc.oneof({ arbitrary: climbing, weight: climbingWeight }, { arbitrary: plain, weight: 8 }), {
        minLength: 1,
        maxLength: 5,
      }),
    )
    .map(([prefix, parts]) => prefix + parts.join("/"));
const hostileName = hostilePath(1);
const hostileMember: fc.Arbitrary<TarMember> = fc.record({
  name: fc.oneof(
    { arbitrary: hostileName, weight: 8 },
    { arbitrary: hostileName.map((name) => `${name}/.wh.canary`), weight: 2 },
    { arbitrary: hostileName.map((name) => `${name}/.wh..`), weight: 1 },
  ),
  linkName: fc.oneof(
    hostilePath(12),
    plain,
    fc.constantFrom("../outside", "../../outside/canary", "/", ".."),
  ),
  type: fc.constantFrom("0", "0", "1", "2", "2", "2", "2", "5", "6"),
  content: fc.constantFrom("", "written"),
  mode: fc.constant(0o777),
  uid: fc.constant(uid),
  gid: fc.constant(gid),
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
