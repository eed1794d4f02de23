// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { headerBytes, memberBytes, sealed, type TarMember, tarOf } from "../../test/fixtures/tar-writer.ts";
import { TAR_LIMITS, type TarEntry, type TarLimits } from "./tar-entry.ts";
import { createTarReader } from "./tar-reader.ts";

interface Read extends TarEntry {
  readonly content: string;
}

/** Reads an archive that comes in pieces of `chunkBytes`. */
function read(archive: Uint8Array, chunkBytes = archive.length, limits?: TarLimits): Read[] {
  const members: Read[] = [];
  let current: TarEntry | undefined;
  let parts: Uint8Array[] = [];
  const reader = createTarReader(
    {
      entry: (entry) => {
        current = entry;
        parts = [];
      },
      data: (bytes) => void parts.push(bytes.slice()),
      end: () =>
        void members.push({ ...(current as TarEntry), content: Buffer.concat(parts).toString("latin1") }),
    },
    limits,
  );
  for (let at = 0; at < archive.length; at += chunkBytes) reader.push(archive.subarray(at, at + chunkBytes));
  reader.finish();
  return members;
}

const one = (member: TarMember) => read(tarOf([member]))[0] as Read;

test("members come out the same however the archive is cut", () => {
  const archive = tarOf([
    { name: "dir/", type: "5", mode: 0o755 },
    { name: "dir/file", content: "x".repeat(1300) },
    { name: "long/".repeat(40), content: "", pax: { mtime: "12.5", "SCHILY.xattr.user.a": "1\n2\0" } },
    { name: "link", type: "2", linkName: "t".repeat(150) },
  ]);
  const whole = read(archive);
  expect(whole.map(({ path, type, content }) => [path, type, content.length])).toEqual([
    ["dir/", "directory", 0],
    ["dir/file", "file", 1300],
    ["long/".repeat(40), "directory", 0],
    ["link", "symlink", 0],
  ]);
  for (const chunkBytes of [1, 7, 511, 512, 513, 4096]) expect(read(archive, chunkBytes)).toEqual(whole);
});

test("pax records win over GNU names, which win over the header", () => {
  const both = Buffer.concat([
    memberBytes({ name: "././@LongLink", type: "L", content: "gnu-name\0" }),
    tarOf([{ name: "header-name", pax: { path: "pax-name", uid: "3000000", gid: "7" } }]),
  ]);
  expect(read(both)[0]).toMatchObject({ path: "pax-name", uid: 3_000_000, gid: 7 });
  const gnu = Buffer.concat([
    memberBytes({ name: "././@LongLink", type: "L", content: "gnu-name\0" }),
    memberBytes({ name: "././@LongLink", type: "K", content: "gnu-target\0" }),
    tarOf([{ name: "header-name", type: "1", linkName: "x" }, { name: "next" }]),
  ]);
  expect(read(gnu).map(({ path, linkPath }) => [path, linkPath])).toEqual([
    ["gnu-name", "gnu-target"],
    ["next", ""],
  ]);
});

test("an empty pax value leaves the header's", () => {
  expect(one({ name: "name", mtime: 5, pax: { path: "", mtime: "", uid: "" } })).toMatchObject({
    path: "name",
    mtimeSeconds: 5,
    uid: 0,
  });
});

test("numbers may be base-256, also negative times", () => {
  expect(one({ name: "a", uid: 4_000_000_000, gid: 2_097_152, mtime: -77 })).toMatchObject({
    uid: 4_000_000_000,
    gid: 2_097_152,
    mtimeSeconds: -77,
  });
});

test("pax times keep nanoseconds, negative ones count forward from below", () => {
  const time = (mtime: string) => {
    const { mtimeSeconds, mtimeNanoseconds } = one({ name: "a", pax: { mtime } });
    return [mtimeSeconds, mtimeNanoseconds];
  };
  expect(time("1350244992.023960108")).toEqual([1_350_244_992, 23_960_108]);
  expect(time("-1.5")).toEqual([-2, 500_000_000]);
  expect(time("-3")).toEqual([-3, 0]);
  expect(time("7.0000000019")).toEqual([7, 1]);
  expect(() => time("1e9")).toThrow("malformed time");
});

test("the prefix of a ustar header is part of the name, GNU's times in its place are not", () => {
  const posix = headerBytes({ name: "name" }, 0);
  posix.write("some/prefix", 345, "latin1");
  expect(read(sealed(posix))[0]?.path).toBe("some/prefix/name");
  const gnu = headerBytes({ name: "name" }, 0);
  gnu.write("ustar  \0", 257, "latin1");
  gnu.write("14523617231", 345, "latin1");
  expect(read(sealed(gnu))[0]?.path).toBe("name");
});

test("old archives mark directories by a slash, and only files have content", () => {
  expect(one({ name: "dir/", type: "\0" }).type).toBe("directory");
  expect(one({ name: "file", type: "\0", content: "abc" })).toMatchObject({ type: "file", content: "abc" });
  const archive = Buffer.concat([
    headerBytes({ name: "link", type: "2", linkName: "x", statedSize: 1_000_000 }, 0),
    tarOf([{ name: "next" }]),
  ]);
  expect(read(archive).map(({ path }) => path)).toEqual(["link", "next"]);
});

test("names keep bytes that are no UTF-8", () => {
  expect(one({ name: "\xff\xfe\x80" }).path).toBe("\xff\xfe\x80");
});

test("an archive may lack its end marks and last padding, but may not stop or go on in the wrong place", () => {
  const archive = tarOf([{ name: "file", content: "x".repeat(600) }]);
  for (const bytes of [512 + 600, 1300, 512 + 1024, 2048])
    expect(read(archive.subarray(0, bytes)).length).toBe(1);
  expect(read(new Uint8Array()).length).toBe(0);
  for (const bytes of [100, 512, 700, 512 + 599]) {
    expect(() => read(archive.subarray(0, bytes))).toThrow("truncated");
  }
  expect(() => read(Buffer.concat([Buffer.alloc(512), archive]))).toThrow("goes on after an end mark");
  expect(read(Buffer.concat([archive, Buffer.from("whatever follows the end")])).length).toBe(1);
  expect(() => read(memberBytes({ name: "x", pax: { path: "y" } }).subarray(0, 1024))).toThrow("truncated");
});

test("what is no tar archive is said to be none", () => {
  expect(() => read(Buffer.alloc(1024, "not a tar archive "))).toThrow("it is no tar archive");
  const damaged = tarOf([{ name: "file" }]);
  damaged[3] = 0x41;
  expect(() => read(damaged)).toThrow("checksum");
});

test("hostile headers are refused with the entry's name", () => {
  const refused: [TarMember, string][] = [
    [{ name: "a", pax: { path: "b\0c" } }, "NUL byte"],
    [{ name: "a", type: "2", pax: { linkpath: "b\0c" } }, '"a" has a name with a NUL'],
    [{ name: "a", uid: -1 }, '"a" has a negative uid'],
    [{ name: "a", pax: { uid: "4294967295" } }, "uid 4294967295"],
    [{ name: "a", pax: { size: "-1" } }, "no usable number"],
    [{ name: "a", statedSize: -5 }, '"a" has a negative size'],
    [{ name: "a", type: "S" }, "sparse"],
    [{ name: "a", pax: { "GNU.sparse.major": "1" } }, "sparse"],
    [{ name: "a", type: "V" }, 'tar type "V"'],
    [{ name: "a".repeat(5000) }, "5000 bytes"],
  ];
  for (const [member, problem] of refused) expect(() => one(member)).toThrow(problem);
});

test("malformed pax records are refused", () => {
  for (const content of ["5 a=b", "999 a=b\n", "x a=b\n", "6 ab\n\n", "4 =\n\n", "-6 a=b\n", "7 =ab\n\n"]) {
    const archive = Buffer.concat([memberBytes({ name: "pax", type: "x", content }), tarOf([{ name: "a" }])]);
    expect(() => read(archive)).toThrow("malformed record");
  }
});

test("bounds hold for entries, headers and extension headers", () => {
  const limits = { ...TAR_LIMITS, maxEntries: 3, maxExtendedHeaderBytes: 100 };
  const members = Array.from({ length: 4 }, (_, i) => ({ name: `f${i}` }));
  expect(() => read(tarOf(members), 512, limits)).toThrow("more than 3 entries");
  expect(read(tarOf(members.slice(1)), 512, limits).length).toBe(3);
  const comments = Array.from({ length: 13 }, () => ({ name: "g", type: "g", content: "" }));
  expect(() => read(tarOf(comments), 512, limits)).toThrow("more than 3 entries");
  expect(() => read(tarOf([{ name: "x", type: "x", content: "y".repeat(101) }]), 512, limits)).toThrow(
    "101 bytes",
  );
  expect(() => read(tarOf([{ name: "x", type: "x", statedSize: 2 ** 40 }]))).toThrow("1099511627776 bytes");
});

test("content can be skipped by seeking", () => {
  const archive = tarOf([
    { name: "big", content: "x".repeat(2000) },
    { name: "next", content: "n" },
  ]);
  const seen: string[] = [];
  const reader = createTarReader({ entry: ({ path }) => void seen.push(path), data() {}, end() {} });
  let at = 0;
  while (at < archive.length) {
    reader.push(archive.subarray(at, at + 512));
    at += 512 + reader.skipContent();
  }
  reader.finish();
  expect(seen).toEqual(["big", "next"]);
});
