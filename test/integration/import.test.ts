// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { parseConfig } from "../../src/config.ts";
import { type ContentStore, openContentStore } from "../../src/image/content-store.ts";
import { type ImageRecord, type Images, openImages } from "../../src/image/images.ts";
import { type ImportOptions, importImage } from "../../src/image/import.ts";
import { startUnpacker } from "../../src/image/unpack.ts";
import { logger } from "../../src/lib/logger.ts";
import { O_DIRECTORY, O_PATH } from "../../src/linux/abi/fcntl.ts";
import { open } from "../../src/linux/fd.ts";
import { removeTree } from "../../src/linux/tree.ts";
import { hostPlatform } from "../../src/oci/manifest.ts";
import { type Paths, pathsFor } from "../../src/paths.ts";
import { openOverlaySnapshotter } from "../../src/snapshot/overlay.ts";
import type { LayerRecord } from "../../src/snapshot/snapshotter.ts";
import { newDamage } from "../../src/state/damage.ts";
import { openDatabase } from "../../src/state/database.ts";
import { openTable } from "../../src/state/table.ts";
import {
  addBlob,
  addIndex,
  buildImage,
  dockerFiles,
  type Files,
  layoutOf,
  REF_NAME,
  writeArchive as writeArchiveBelow,
  writeLayout as writeLayoutBelow,
} from "../fixtures/image-files.ts";
import { type TarMember, tarOf } from "../fixtures/tar-writer.ts";

const INDEX = "application/vnd.oci.image.index.v1+json";

const hasRoot = process.getuid?.() === 0;
const hasTools = Bun.which("skopeo") !== null && Bun.which("umoci") !== null;
const suite = hasRoot ? describe : describe.skip;
const interop = hasRoot && hasTools ? describe : describe.skip;

let base: string;
let paths: Paths;
let content: ContentStore;
let images: Images;
let close: () => Promise<void>;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-import-"));
  paths = pathsFor(join(base, "instance"));
  const database = openDatabase(paths.database);
  content = openContentStore(paths);
  const snapshotter = openOverlaySnapshotter({ paths, layers: openTable<LayerRecord>(database, "layers") });
  const unpacker = startUnpacker(1);
  images = openImages({
    paths,
    config: parseConfig("", "0", "config.toml"),
    table: openTable<ImageRecord>(database, "images"),
    content,
    snapshotter,
    unpacker,
    inUse: () => new Set(),
    damage: newDamage(logger),
  });
  close = async () => {
    await unpacker.close();
    await snapshotter.close();
    database.close();
  };
});

afterEach(async () => {
  await close();
  using parent = open(tmpdir(), O_PATH | O_DIRECTORY);
  removeTree(parent.number, base);
});

const importFrom = (path: string, options?: ImportOptions) =>
  importImage({ content, images, paths }, path, options);
const refusal = (path: string, options?: ImportOptions) =>
  importFrom(path, options).then(
    () => "imported",
    (error: Error) => error.message,
  );

/** The files of an image's layers, stacked by name; enough to see that the right ones were unpacked. */
function unpackedFiles({ layers }: ImageRecord): string[] {
  const database = openDatabase(paths.database);
  const records = openTable<LayerRecord>(database, "layers");
  const directories = layers.map(({ chainId }) =>
    join(paths.layersDir, records.get(chainId)?.directory ?? "missing"),
  );
  database.close();
  return directories.flatMap((directory) => readdirSync(directory)).sort();
}

const writeLayout = (files: Files) => writeLayoutBelow(base, files);
const writeArchive = (files: Files, more?: readonly TarMember[], pack?: (tar: Buffer) => Uint8Array) =>
  writeArchiveBelow(base, files, more, pack);

suite("OCI layouts", () => {
  test("a directory, an archive and a compressed archive give the same image", async () => {
    const files = layoutOf("registry.example/app:1");
    const expected = { repoTags: ["registry.example/app:1"] };
    const [record] = await importFrom(writeLayout(files));
    expect(record).toMatchObject(expected);
    expect(record?.repoDigests).toEqual([`registry.example/app@${record?.manifestDigest}`]);
    expect(unpackedFiles(record as ImageRecord)).toEqual(["file-0"]);
    for (const pack of [(tar: Buffer) => tar, gzipSync, zstdCompressSync]) {
      expect(await importFrom(writeArchive(files, [], pack))).toEqual([record as ImageRecord]);
    }
    expect(images.list().length).toBe(1);
    expect(readdirSync(paths.ingestDir)).toEqual([]);
  });

  test("several images keep their names, --name gives them another repository", async () => {
    const layout = writeLayout(layoutOf("docker.io/library/a:1", "b:2"));
    const records = await importFrom(layout);
    expect(records.flatMap(({ repoTags }) => repoTags)).toEqual([
      "docker.io/library/a:1",
      "docker.io/library/b:2",
    ]);
    const renamed = await importFrom(layout, { name: "mine/all" });
    expect(renamed.map(({ repoTags }) => repoTags.at(-1))).toEqual([
      "docker.io/mine/all:1",
      "docker.io/mine/all:2",
    ]);
    expect(await refusal(layout, { name: "mine/all:3" })).toContain("there are 2 in it");
  });

  test("a tag alone needs a name, and --name takes the tag over", async () => {
    const layout = writeLayout(layoutOf("v7"));
    expect(await refusal(layout)).toBe(
      `cannot import ${layout}: it has only the tag "v7" for an image where a reference as in docker.io/library/nginx:1 is needed: give one with --name`,
    );
    const [record] = await importFrom(layout, { name: "app" });
    expect(record?.repoTags).toEqual(["docker.io/library/app:v7"]);
    expect(await refusal(writeLayout(layoutOf("")))).toContain("it has no name");
  });

  test("an index of platforms is one image, of which only this platform's blobs are needed", async () => {
    const files: Files = new Map();
    const ours = buildImage(files, ["ours"]).manifest;
    const other: Files = new Map();
    const theirs = buildImage(other, ["theirs"], "riscv64").manifest;
    const platforms = [
      { ...theirs, platform: { os: "linux", architecture: "riscv64" } },
      { ...ours, platform: hostPlatform() },
    ];
    const nested = addBlob(
      files,
      JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: platforms }),
      INDEX,
    );
    addIndex(files, [
      { ...nested, annotations: { "io.containerd.image.name": "docker.io/library/multi:1" } },
    ]);
    const [record] = await importFrom(writeLayout(files));
    expect(unpackedFiles(record as ImageRecord)).toEqual(["ours"]);
    expect(record?.repoDigests).toEqual([`docker.io/library/multi@${nested.digest}`]);

    const [direct] = await importFrom(writeLayout(addIndex(files, platforms)), { name: "direct:1" });
    expect(direct?.id).toBe((record as ImageRecord).id);
  });

  test("damaged, missing and misplaced content is refused, and nothing is kept", async () => {
    const reference = "example.com/app:1";
    const build = (change: (files: Files, layer: string, manifest: string) => void) => {
      const files: Files = new Map();
      const { manifest } = buildImage(files, ["file"]);
      const names = [...files.keys()];
      addIndex(files, [{ ...manifest, annotations: { [REF_NAME]: reference } }]);
      change(files, names[1] as string, names[2] as string);
      return files;
    };
    const refused: [Files, string][] = [
      [
        build((files, layer) => files.set(layer, (files.get(layer) as Uint8Array).toReversed())),
        "wrong digest",
      ],
      [build((files, layer) => files.set(layer, Buffer.alloc(10_000))), "longer than the"],
      [build((files, layer) => files.delete(layer)), "is missing in it"],
      [build((files, _, manifest) => files.delete(manifest)), "is missing in it"],
      [build((files) => files.set("index.json", Buffer.from("{"))), "its index.json is not JSON"],
      [
        build((files) => files.set("index.json", Buffer.from('{"schemaVersion":2}'))),
        "its index.json: manifests",
      ],
      [build((files) => files.set("oci-layout", Buffer.from('{"imageLayoutVersion":"2"}'))), "version 2"],
      [build((files) => files.set("index.json", Buffer.alloc(5 << 20, " "))), "longer than"],
    ];
    for (const [files, problem] of refused) {
      const [layout, archive] = [writeLayout(files), writeArchive(files)];
      for (const path of [layout, archive]) {
        const message = await refusal(path);
        expect(message).toStartWith(`cannot import ${path}: `);
        expect(message).toContain(problem);
      }
    }
    expect(images.list()).toEqual([]);
    expect(readdirSync(paths.ingestDir)).toEqual([]);
  });

  test("links out of a layout are not followed", async () => {
    const layout = writeLayout(layoutOf("example.com/app:1"));
    const secret = join(base, "secret");
    writeFileSync(secret, readFileSync(join(layout, "index.json")));
    const away = join(layout, "index.json");
    using directory = open(layout, O_PATH | O_DIRECTORY);
    removeTree(directory.number, "index.json");
    symlinkSync(secret, away);
    expect(await refusal(layout)).toContain("index.json in it is a link that leads elsewhere");
    removeTree(directory.number, "index.json");
    execFileSync("mkfifo", [away]);
    expect(await refusal(layout)).toContain("index.json in it is no file");
  });
});

suite("docker-archives", () => {
  const [first, second] = ["one", "two"].map((name) => tarOf([{ name, content: name }])) as [Buffer, Buffer];

  test("plain and compressed layers make an image with all its tags", async () => {
    const files = dockerFiles(["app:1", "localhost:5000/app:2"], [first, gzipSync(second)]);
    const [record] = await importFrom(writeArchive(files));
    expect(record?.repoTags).toEqual(["docker.io/library/app:1", "localhost:5000/app:2"]);
    expect(record?.repoDigests).toEqual([]);
    expect(unpackedFiles(record as ImageRecord)).toEqual(["one", "two"]);
    const again = await importFrom(writeArchive(files, [], gzipSync));
    expect(again).toEqual([record as ImageRecord]);
  });

  test("without a tag it needs --name", async () => {
    const archive = writeArchive(dockerFiles(null, [first]));
    expect(await refusal(archive)).toContain("it has no name for an image");
    expect((await importFrom(archive, { name: "app:3" }))[0]?.repoTags).toEqual(["docker.io/library/app:3"]);
  });

  test("layers may be links inside the archive, never out of it", async () => {
    const files = dockerFiles(["app:1"], [first, first]);
    files.delete("layer-1/layer.tar");
    const link = (linkName: string) => [{ name: "layer-1/layer.tar", type: "2", linkName }];
    const [record] = await importFrom(writeArchive(files, link("../layer-0/layer.tar")));
    expect(record?.layers.length).toBe(2);
    expect(await refusal(writeArchive(files, link("../../etc/passwd")))).toContain("leaves the");
    expect(await refusal(writeArchive(files, link("/etc/passwd")))).toContain(
      "layer-1/layer.tar is missing in it",
    );
    expect(await refusal(writeArchive(files, link("layer.tar")))).toContain("leads to no file");
  });

  test("a layer or configuration that is not what it is called is refused", async () => {
    const wrongLayer = dockerFiles(["app:1"], [first]);
    wrongLayer.set("layer-0/layer.tar", second);
    expect(await refusal(writeArchive(wrongLayer))).toContain("wrong digest");
    const wrongZipped = dockerFiles(["app:1"], [gzipSync(first)]);
    wrongZipped.set("layer-0/layer.tar", gzipSync(second));
    expect(await refusal(writeArchive(wrongZipped))).toContain("where the image configuration says");
    const wrongCount = dockerFiles(["app:1"], [first]);
    const manifest = JSON.parse(Buffer.from(wrongCount.get("manifest.json") as Uint8Array).toString());
    wrongCount.set("manifest.json", Buffer.from(JSON.stringify([{ ...manifest[0], Layers: [] }])));
    expect(await refusal(writeArchive(wrongCount))).toContain("lists 0 layers");
    const configName = manifest[0].Config as string;
    const wrongConfig = dockerFiles(["app:1"], [first]);
    wrongConfig.set(configName, Buffer.concat([wrongConfig.get(configName) as Uint8Array, Buffer.from(" ")]));
    expect(await refusal(writeArchive(wrongConfig))).toContain("wrong digest");
    expect(images.list()).toEqual([]);
  });
});

suite("what is no image", () => {
  test("is said to be none, with what was expected", async () => {
    expect(await refusal(join(base, "nowhere"))).toBe(
      `cannot import ${join(base, "nowhere")}: there is no such file or directory`,
    );
    expect(await refusal(mkdtempSync(join(base, "empty-")))).toContain(
      "it is no image: expected an OCI layout",
    );
    expect(await refusal(writeArchive(new Map([["a", Buffer.from("x")]])))).toContain("it is no image");
    const text = join(base, "text");
    writeFileSync(text, "hello ".repeat(1000));
    expect(await refusal(text)).toContain("it is no tar archive");
    expect(await refusal("/dev/null")).toContain("neither a directory nor a file");
    const archive = writeArchive(layoutOf("example.com/app:1"));
    writeFileSync(archive, readFileSync(archive).subarray(0, 1000));
    expect(await refusal(archive)).toContain("truncated");
  });

  test("an abort stops the import", async () => {
    const archive = writeArchive(layoutOf("example.com/app:1"));
    const attempt = importFrom(archive, { signal: AbortSignal.abort(new Error("enough")) });
    await expect(attempt).rejects.toThrow("enough");
    expect(images.list()).toEqual([]);
  });
});

interop("images that umoci and skopeo make", () => {
  test("are imported from layouts, OCI archives and docker-archives alike", async () => {
    const layout = join(base, "made");
    const rootfs = join(base, "rootfs");
    mkdirSync(join(rootfs, "etc"), { recursive: true });
    writeFileSync(join(rootfs, "etc/motd"), "made by umoci");
    const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: "pipe" });
    run("umoci", "init", "--layout", layout);
    run("umoci", "new", "--image", `${layout}:v1`);
    run("umoci", "insert", "--image", `${layout}:v1`, rootfs, "/opt");
    run(
      "umoci",
      "config",
      "--image",
      `${layout}:v1`,
      "--config.cmd",
      "/bin/true",
      "--architecture",
      hostPlatform().architecture,
    );
    run("umoci", "gc", "--layout", layout);
    const archives = ["oci-archive", "docker-archive"].map((kind) => {
      const file = join(base, `${kind}.tar`);
      run("skopeo", "--insecure-policy", "copy", `oci:${layout}:v1`, `${kind}:${file}:example.com/made:v1`);
      return file;
    });
    const [record] = await importFrom(layout, { name: "example.com/made" });
    expect(record?.config.Cmd).toEqual(["/bin/true"]);
    for (const archive of archives) {
      const [other] = await importFrom(archive);
      expect(other?.repoTags).toEqual(["example.com/made:v1"]);
      expect(other?.layers.map(({ chainId }) => chainId)).toEqual(
        record?.layers.map(({ chainId }) => chainId),
      );
    }
    expect(unpackedFiles(record as ImageRecord)).toEqual(["opt"]);
  });
});
