// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { TarEntry } from "./tar-entry.ts";
import { createTarReader } from "./tar-reader.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar-writer.ts";

// Any byte but NUL may be in a name; a slash at its end would make a file a directory.
const name = (maxLength: number) =>
  fc
    .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength })
    .map((bytes) => `${Buffer.from(bytes).toString("latin1")}x`);

const entry: fc.Arbitrary<TarEntry> = fc
  .record({
    path: name(300),
    type: fc.constantFrom("file", "symlink", "hardlink", "char", "fifo") as fc.Arbitrary<TarEntry["type"]>,
    linkPath: name(300),
    mode: fc.nat(0o7777),
    uid: fc.nat(0xffff_fffe),
    gid: fc.nat(0xffff_fffe),
    sizeBytes: fc.nat(3000),
    mtimeSeconds: fc.integer({ min: -1000, max: 2 ** 33 }),
    mtimeNanoseconds: fc.nat(999_999_999),
    deviceMajor: fc.nat(4095),
    deviceMinor: fc.nat(0o7777777),
    xattrs: fc
      .dictionary(fc.constantFrom("user.a", "user.b"), fc.string())
      .map(
        (values) =>
          new Map(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString("latin1")])),
      ),
  })
  .map((any) => ({
    ...any,
    sizeBytes: any.type === "file" ? any.sizeBytes : 0,
    linkPath: any.type === "symlink" || any.type === "hardlink" ? any.linkPath : "",
  }));

test("what is written is read back as it was", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
      const read: TarEntry[] = [];
      let contentBytes = 0;
      const sink = {
        entry: (found: TarEntry) => void read.push(found),
        data: (bytes: Uint8Array) => {
          contentBytes += bytes.length;
        },
        end: () => {},
      };
      const reader = createTarReader(sink);
      for (const each of entries) {
        reader.push(tarHeader(each));
        reader.push(new Uint8Array(each.sizeBytes + tarPadding(each.sizeBytes)));
      }
      reader.push(TAR_END);
      reader.finish();
      expect(read).toEqual(entries);
      expect(contentBytes).toBe(entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    }),
  );
});
