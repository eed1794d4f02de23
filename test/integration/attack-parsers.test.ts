// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { addHostileImage, hostileLayout, type PackedLayer } from "../fixtures/hostile-image.ts";
import { type HostileRegistry, startHostileRegistry } from "../fixtures/hostile-registry.ts";
import { addBlob, type Files, REF_NAME, writeLayout } from "../fixtures/image-files.ts";
import { headerBytes } from "../fixtures/tar-writer.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { importHostile, tryImport } from "./harness/hostile.ts";
import { createContainer, execIn, runContainer, runSandbox } from "./harness/pods.ts";
import { memoryOf } from "./harness/proc.ts";

/*
 * What is read from images and processes is bounded before it is read (CVE-2022-31030, CVE-2023-25153,
 * CVE-2026-47262), and a document that could be read in two ways is not read at all (GHSA-5j5w-g665-5m35).
 * The daemon's memory is looked at after each: none of them stays in it.
 */

const fixture = useDaemon();
const MEMORY_LIMIT_BYTES = 512 * 2 ** 20;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
let registry: HostileRegistry;
let sandboxId: string;

beforeAll(async () => {
  registry = startHostileRegistry();
  sandboxId = await runSandbox(fixture.daemon, "parsers");
});
afterAll(() => registry[Symbol.dispose]());

/** Garbage may lie about for a moment. */
async function expectMemoryBounded(): Promise<void> {
  await eventually("the daemon's memory is bounded", async () => {
    await fixture.daemon.api.version({});
    return memoryOf(fixture.daemon.pid())["Pss"]! < MEMORY_LIMIT_BYTES;
  });
}

/** A gigabyte of entries, as a layer of a few megabytes. */
function hugeFile(name: string): PackedLayer {
  const piece = Buffer.from("a:x:0:0::/:/\n".repeat(4096));
  const PIECES = 64;
  const REPEATS = 300;
  const pieces = gzipSync(Buffer.concat(Array<Buffer>(PIECES).fill(piece)));
  const sizeBytes = piece.length * PIECES * REPEATS;
  const hash = new Bun.CryptoHasher("sha256");
  const header = headerBytes({ name }, sizeBytes);
  const end = Buffer.alloc(((512 - (sizeBytes % 512)) % 512) + 1024);
  hash.update(header);
  for (let round = 0; round < PIECES * REPEATS; round++) hash.update(piece);
  hash.update(end);
  const bytes = Buffer.concat([gzipSync(header), ...Array<Buffer>(REPEATS).fill(pieces), gzipSync(end)]);
  return { bytes, suffix: "+gzip", diffId: `sha256:${hash.digest("hex")}` };
}

test("an /etc/group of a gigabyte is not read, and the container is refused", async () => {
  const { daemon } = fixture;
  const image = await importHostile(daemon, "huge-group", { layers: [hugeFile("etc/group")] });
  const attempt = createContainer(daemon, sandboxId, { name: "huge-group", image: { image } });
  await expect(attempt).rejects.toThrow("the image's /etc/group is larger than 1048576 bytes");
  await expectMemoryBounded();
  await daemon.api.removeImage({ image: { image } });
});

test("output without end is cut at what an answer may hold, and costs no more memory", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, sandboxId, { name: "endless" });
  const endless = daemon.api.execSync({ containerId: id, cmd: ["sh", "-c", "yes & yes >&2"], timeout: 3n });
  const version = daemon.api.version({});
  expect((await version).runtimeName).toBe("podrt");
  await expect(endless).rejects.toThrow("did not end within 3000 ms");
  const much = await execIn(daemon, id, "head", "-c", "10000000", "/dev/zero");
  expect([much.code, much.stdout.length]).toEqual([0, 10_000_000]);
  await expectMemoryBounded();
});

const nested = (depth: number, open = "[", close = "]") => open.repeat(depth) + close.repeat(depth);

test.each<[string, string, RegExp]>([
  ["brackets without end", "[".repeat(4_000_000), /nested deeper than/],
  ["arrays in arrays", nested(1_900_000), /nested deeper than/],
  ["objects in objects", `${'{"a":'.repeat(600_000)}1${"}".repeat(600_000)}`, /nested deeper than/],
  ["a deep unknown field", `{"schemaVersion":2,"x":${nested(1_000_000)}}`, /nested deeper than/],
  ["no bytes", "", /not JSON/],
  ["no UTF-8", "\xff\xfe{}", /not JSON/],
  [
    "more than a manifest may have",
    `{"schemaVersion":2,"x":"${"x".repeat(5_000_000)}"}`,
    /4194304|4 MiB|larger|more than/,
  ],
])("a manifest of %s is refused, pulled and imported", async (what, text, reason) => {
  const { daemon } = fixture;
  const bytes = Buffer.from(text, "latin1");
  registry.tags.set("parsers:1", addBlob(registry.files, bytes, MANIFEST));
  const pull = daemon.api.pullImage({ image: { image: `${registry.host}/parsers:1` } });
  await expect(pull, what).rejects.toThrow(reason);
  const files: Files = new Map();
  const manifest = { ...addBlob(files, bytes, MANIFEST), annotations: { [REF_NAME]: "a.example/x:1" } };
  files.set("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  for (const index of [Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [manifest] })), bytes]) {
    files.set("index.json", index);
    const { code, stderr } = await daemon.podrt("import", writeLayout(daemon.root, files));
    expect([code, stderr.trim().split("\n").length]).toEqual([1, 1]);
    expect(stderr).toMatch(/JSON|index\.json|limit/);
  }
  await expectMemoryBounded();
});

test("a document that is an index and an image, or not what it is announced as, is refused", async () => {
  const { daemon } = fixture;
  const image = await addHostileImage(registry.files, {});
  const content = JSON.parse(
    Buffer.from(registry.files.get(`blobs/${image.digest.replace(":", "/")}`)!).toString(),
  ) as Record<string, unknown>;
  const cases: [object, string, RegExp][] = [
    [{ ...content, manifests: [image] }, MANIFEST, /both an index \(manifests\) and an image/],
    [{ ...content, mediaType: INDEX }, MANIFEST, /calls itself .*index.* but was announced as/],
    [{ ...content, mediaType: INDEX }, INDEX, /lists layers but calls itself/],
    [{ schemaVersion: 2, manifests: [image] }, MANIFEST, /lists manifests but calls itself/],
    [{ ...content, layers: "x" }, MANIFEST, /invalid/],
    [
      { ...content, config: { ...(content["config"] as object), mediaType: "text/plain" } },
      MANIFEST,
      /an artifact, not a container image/,
    ],
    [{ ...content, layers: Array(1025).fill((content["layers"] as object[])[0]) }, MANIFEST, /invalid/],
    [{ schemaVersion: 1, mediaType: MANIFEST }, MANIFEST, /schema 1/],
  ];
  for (const [document, type, reason] of cases) {
    registry.tags.set("confused:1", addBlob(registry.files, JSON.stringify(document), type));
    const pull = daemon.api.pullImage({ image: { image: `${registry.host}/confused:1` } });
    await expect(pull).rejects.toThrow(reason);
  }
});

test.each<[string, object, RegExp]>([
  ["more than eight megabytes", { spec: { junk: "x".repeat(9_000_000) } }, /larger|more than|8388608/],
  ["thousands of variables", { run: { Env: Array(4097).fill("A=B") } }, /Env has more than 4096 entries/],
  [
    "thousands of labels",
    { run: { Labels: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`l${i}`, ""])) } },
    /Labels/,
  ],
  ["an argument that no kernel takes", { run: { Cmd: ["x".repeat(131_073)] } }, /Cmd/],
  ["a NUL in an argument", { run: { Cmd: ["sh\0-c"] } }, /NUL/],
  ["a line break in a path", { run: { WorkingDir: "/a\nb" } }, /control character/],
  ["a number in place of text", { run: { User: 0 } }, /User/],
  [
    "layers without end",
    { spec: { rootfs: { type: "layers", diff_ids: Array(1000).fill(`sha256:${"0".repeat(64)}`) } } },
    /layers/,
  ],
])("a configuration of %s is refused", async (_, image, reason) => {
  const { code, stderr } = await tryImport(fixture.daemon, "configuration", image);
  expect([code, stderr]).toEqual([1, expect.stringMatching(reason)]);
  await expectMemoryBounded();
});

test("a configuration that is deep where only the verbose status shows it is refused", async () => {
  const { daemon } = fixture;
  const files = await hostileLayout("hostile.example/deep:1", {});
  const index = JSON.parse(Buffer.from(files.get("index.json")!).toString()) as {
    manifests: { digest: string }[];
  };
  const at = (digest: string) => `blobs/${digest.replace(":", "/")}`;
  const manifest = JSON.parse(Buffer.from(files.get(at(index.manifests[0]!.digest))!).toString()) as {
    config: { digest: string };
  };
  const config = Buffer.from(files.get(at(manifest.config.digest))!).toString();
  const deep = config.replace(/\}$/, `,"x":${nested(500_000)}}`);
  const changed = addBlob(files, deep, "application/vnd.oci.image.config.v1+json");
  const whole = addBlob(files, JSON.stringify({ ...manifest, config: changed }), MANIFEST);
  const annotations = { [REF_NAME]: "hostile.example/deep:1" };
  files.set(
    "index.json",
    Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [{ ...whole, annotations }] })),
  );
  const { code, stderr } = await daemon.podrt("import", writeLayout(daemon.root, files));
  expect([code, stderr]).toEqual([1, expect.stringContaining("configuration is JSON nested deeper than")]);
  expect((await daemon.api.version({})).runtimeName).toBe("podrt");
  await expectMemoryBounded();
});
