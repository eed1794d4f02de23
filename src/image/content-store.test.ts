// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FailedPreconditionError, InvalidArgumentError, NotFoundError, type PodrtError } from "../errors.ts";
import { digestOf } from "../oci/digest.ts";
import { type ContentStore, openContentStore } from "./content-store.ts";

let directory: string;
let store: ContentStore;
const paths = () => ({
  blobsDir: join(directory, "blobs"),
  ingestDir: join(directory, "ingest"),
  partialDir: join(directory, "partial"),
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-content-"));
  store = openContentStore(paths());
});
afterEach(() => rmSync(directory, { recursive: true }));

async function* chunks(...parts: (string | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield new TextEncoder().encode(part);
  }
}

/** Nothing has come into the store, and nothing is left of the attempt. */
function expectEmpty(): void {
  expect(store.list()).toEqual([]);
  expect(readdirSync(paths().ingestDir)).toEqual([]);
}

test("content is kept under its digest and read back", async () => {
  const digest = digestOf("hello world");
  expect(await store.ingest(chunks("hello ", "world"), { digest, sizeBytes: 11 })).toEqual({
    digest,
    sizeBytes: 11,
  });
  expect(store.has(digest)).toBe(true);
  expect(store.sizeBytes(digest)).toBe(11);
  expect(store.list()).toEqual([digest]);
  expect(new TextDecoder().decode(await store.read(digest, 11))).toBe("hello world");
  expect(readdirSync(paths().ingestDir)).toEqual([]);
});

test("what is removed is told of until it is off the disk", async () => {
  const { digest } = await store.ingest(chunks("hello"), {});
  const freed = store.remove(digest);
  expect([store.has(digest), store.going()]).toEqual([false, [5]]);
  await freed;
  expect(store.going()).toEqual([]);
  expectEmpty();
});

test("content of an unknown digest is kept under the one it has", async () => {
  expect(await store.ingest(chunks("x"), {})).toEqual({ digest: digestOf("x"), sizeBytes: 1 });
});

test("sha512 is understood", async () => {
  const digest = `sha512:${new Bun.CryptoHasher("sha512").update("x").digest("hex")}`;
  await store.ingest(chunks("x"), { digest });
  expect(store.list()).toEqual([digest]);
});

test.each([
  ["of the wrong digest", ["hello"], { digest: digestOf("other") }, "wrong digest"],
  ["that is too long", ["hello", " world"], { sizeBytes: 5 }, "longer than the 5 bytes"],
  ["that is too short", ["hell"], { sizeBytes: 5 }, "ends after 4 bytes where 5"],
] as const)("content %s is refused and leaves nothing", async (_, parts, expected, problem) => {
  const attempt = store.ingest(chunks(...parts), expected);
  await expect(attempt).rejects.toThrow(problem);
  await expect(attempt).rejects.toBeInstanceOf(FailedPreconditionError);
  expectEmpty();
});

test("a source that fails midway leaves nothing and its error is passed on", async () => {
  await expect(store.ingest(chunks("a", new Error("broken pipe")), {})).rejects.toThrow("broken pipe");
  expectEmpty();
});

test("an abort leaves nothing and ends the source", async () => {
  const controller = new AbortController();
  let isEnded = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        yield new Uint8Array(1000);
        controller.abort(new Error("enough"));
      }
    } finally {
      isEnded = true;
    }
  }
  await expect(store.ingest(endless(), {}, controller.signal)).rejects.toThrow("enough");
  expect(isEnded).toBe(true);
  expectEmpty();
});

test("a full disk is told from other failures by its kind and the path", async () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
    code: "ENOSPC",
    syscall: "write",
  });
  const attempt = store.ingest(chunks("a", full), {});
  await expect(attempt).rejects.toThrow(`cannot write ${paths().ingestDir}`);
  await expect(attempt).rejects.toMatchObject({ kind: "ResourceExhausted" } satisfies Partial<PodrtError>);
  expectEmpty();
});

test("a blob that was damaged on disk is not read, and is healed by being taken in again", async () => {
  const { digest } = await store.ingest(chunks("hello"), {});
  writeFileSync(store.path(digest), "jello");
  await expect(store.read(digest, 100)).rejects.toThrow("damaged on disk");
  await store.ingest(chunks("hello"), { digest });
  expect(await store.read(digest, 100)).toHaveLength(5);
});

test("a blob larger than the reader's limit is not read", async () => {
  const { digest } = await store.ingest(chunks("hello"), {});
  await expect(store.read(digest, 4)).rejects.toThrow("has 5 bytes where 4 are the limit");
});

test("what is absent is NotFound to readers and nothing to removers", async () => {
  const digest = digestOf("absent");
  expect(store.has(digest)).toBe(false);
  expect(() => store.sizeBytes(digest)).toThrow(NotFoundError);
  await expect(store.read(digest, 1)).rejects.toBeInstanceOf(NotFoundError);
  await store.remove(digest);
});

test("a removed blob is gone at once", async () => {
  const { digest } = await store.ingest(chunks("hello"), {});
  const freed = store.remove(digest);
  expect(store.has(digest)).toBe(false);
  expect(existsSync(store.path(digest))).toBe(false);
  await freed;
  expectEmpty();
});

test.each(["sha256:../../etc/passwd", "md5:abc", `sha256:${"A".repeat(64)}`, "", `sha256:${"a".repeat(63)}`])(
  "%p is no path into the store",
  (digest) => {
    expect(() => store.path(digest)).toThrow(InvalidArgumentError);
  },
);

test("what an earlier daemon had half received is thrown away at start", () => {
  mkdirSync(paths().ingestDir, { recursive: true });
  writeFileSync(join(paths().ingestDir, "half"), "...");
  openContentStore(paths());
  expect(readdirSync(paths().ingestDir)).toEqual([]);
});
