// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config.ts";
import { openContentStore } from "../../src/image/content-store.ts";
import { type ImageRecord, type Images, openImages } from "../../src/image/images.ts";
import { startUnpacker } from "../../src/image/unpack.ts";
import { logger } from "../../src/lib/logger.ts";
import { type Paths, pathsFor } from "../../src/paths.ts";
import { openOverlaySnapshotter } from "../../src/snapshot/overlay.ts";
import type { LayerRecord, Snapshotter } from "../../src/snapshot/snapshotter.ts";
import { newDamage } from "../../src/state/damage.ts";
import { openDatabase } from "../../src/state/database.ts";
import { openTable } from "../../src/state/table.ts";
import { type ImageRecipe, type Layer, type WrittenImage, writeLayout } from "../fixtures/images/layout.ts";
import { pushImages, type Registry, startRegistry } from "../fixtures/images/registry.ts";

const BIG_BYTES = 24 << 20;
const baseLayer: Layer = {
  compression: "gzip",
  entries: [
    { type: "directory", path: "etc" },
    { type: "file", path: "etc/hostname", content: "base\n", mode: 0o600, uid: 7, gid: 8 },
    { type: "file", path: "etc/gone", content: "to be deleted" },
  ],
};
const topLayer: Layer = {
  compression: "zstd",
  entries: [
    { type: "directory", path: "etc" },
    { type: "file", path: "etc/.wh.gone", content: "" },
    { type: "file", path: "etc/hostname", content: "top\n" },
  ],
};
const bigLayer: Layer = {
  compression: "none",
  entries: [{ type: "file", path: "big", content: randomBytes(BIG_BYTES) }],
};
const recipes: readonly ImageRecipe[] = [
  {
    names: ["team/app:v1", "team/app:stable"],
    layers: [baseLayer, topLayer],
    run: { User: "7", Cmd: ["sh"] },
  },
  { names: ["team/docker:v1"], layers: [baseLayer], run: {}, format: "docker" },
  { names: ["team/multi:v1"], layers: [baseLayer], run: { Env: ["A=b"] }, format: "index" },
  { names: ["team/big:v1"], layers: [baseLayer, bigLayer], run: {} },
];

let scratch: string;
let registry: Registry;
let written: WrittenImage[];

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "podrt-pull-"));
  written = writeLayout(join(scratch, "layout"), recipes);
  registry = await startRegistry({ storageDir: join(scratch, "storage") });
  await pushImages(registry.host, join(scratch, "layout"), written);
}, 60_000);
afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

interface Store extends AsyncDisposable {
  readonly paths: Paths;
  readonly images: Images;
  readonly snapshotter: Snapshotter;
}

let store: Store;
let root: string;

/** Images on the real snapshotter and unpacker below `root`. */
function openStore(configuration: string): Store {
  const paths = pathsFor(root);
  const database = openDatabase(paths.database);
  const layers = openTable<LayerRecord>(database, "layers");
  const snapshotter = openOverlaySnapshotter({ paths, layers });
  const unpacker = startUnpacker();
  const images = openImages({
    paths,
    config: parseConfig(configuration, "0", "config.toml"),
    table: openTable<ImageRecord>(database, "images"),
    content: openContentStore(paths),
    snapshotter,
    unpacker,
    inUse: () => new Set(),
    damage: newDamage(logger),
  });
  const dispose = async () => {
    await unpacker.close();
    await snapshotter.close();
    database.close();
  };
  return { paths, images, snapshotter, [Symbol.asyncDispose]: dispose };
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-store-"));
  store = openStore("");
});
afterEach(async () => {
  await store[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

const named = (name: string) => `${registry.host}/${name}`;
const contentsOf = (paths: Paths) =>
  [paths.blobsDir, paths.layersDir, paths.ingestDir].flatMap((directory) =>
    readdirSync(directory, { recursive: true, encoding: "utf8" }).sort(),
  );

test("an image from a registry on loopback is unpacked layer by layer", async () => {
  const record = await store.images.pull(named("team/app:v1"));
  expect(record.repoDigests).toEqual([`${named("team/app")}@${written[0]?.manifest.digest}`]);
  expect(record.config).toMatchObject({ User: "7", Cmd: ["sh"] });
  const [bottom, top] = store.snapshotter.layerDirs(record.layers.map(({ chainId }) => chainId)) as [
    string,
    string,
  ];
  expect(readFileSync(join(bottom, "etc/hostname"), "utf8")).toBe("base\n");
  const { mode, uid, gid } = statSync(join(bottom, "etc/hostname"));
  expect([mode & 0o777, uid, gid]).toEqual([0o600, 7, 8]);
  expect(readFileSync(join(top, "etc/hostname"), "utf8")).toBe("top\n");
  expect(statSync(join(top, "etc/gone")).isCharacterDevice()).toBe(true);
  const usage = await store.images.usage();
  expect(usage.usedBytes).toBeGreaterThan(record.sizeBytes);
  expect(usage.inodesUsed).toBeGreaterThan(record.blobs.length);
});

test("a second tag of the image, and the same tag again, bring nothing new", async () => {
  const first = await store.images.pull(named("team/app:v1"));
  const before = contentsOf(store.paths);
  expect(await store.images.pull(named("team/app:v1"))).toEqual(first);
  const both = await store.images.pull(named("team/app:stable"));
  expect(both.repoTags).toEqual([named("team/app:v1"), named("team/app:stable")]);
  expect(contentsOf(store.paths)).toEqual(before);
});

test("a Docker manifest and an index are pulled, by tag and by digest", async () => {
  const docker = await store.images.pull(named("team/docker:v1"));
  expect(docker.layers[0]?.mediaType).toBe("application/vnd.docker.image.rootfs.diff.tar.gzip");
  const index = written[2]?.manifest.digest as string;
  const multi = await store.images.pull(named("team/multi:v1"));
  expect(multi.repoDigests).toEqual([`${named("team/multi")}@${index}`]);
  expect(multi.manifestDigest).not.toBe(index);
  expect(multi.config.Env).toEqual(["A=b"]);
  expect((await store.images.pull(`${named("team/multi")}@${index}`)).id).toBe(multi.id);
});

test("images survive a restart of their owner", async () => {
  const record = await store.images.pull(named("team/app:v1"));
  await store[Symbol.asyncDispose]();
  store = openStore("");
  expect(store.images.list()).toEqual([record]);
  expect(await store.images.pull(named("team/app:v1"))).toEqual(record);
});

test("removal leaves neither blob nor layer", async () => {
  await store.images.pull(named("team/app:v1"));
  await store.images.pull(named("team/docker:v1"));
  await store.images.remove(named("team/app:stable"));
  await store.images.remove(named("team/app:v1"));
  await store.images.remove(named("team/docker:v1"));
  await store.images.collect(() => new Set());
  expect(contentsOf(store.paths)).toEqual(["sha256", "sha512"]);
  expect(await store.images.usage()).toMatchObject({ usedBytes: 0, inodesUsed: 0 });
});

test("docker.io's images come from its mirror, and the name stays docker.io's", async () => {
  await store[Symbol.asyncDispose]();
  store = openStore(`[registries."docker.io"]\nmirrors = ["http://${registry.host}"]\n`);
  const record = await store.images.pull("team/app:v1");
  expect(record.repoTags).toEqual(["docker.io/team/app:v1"]);
});

test("an unknown repository and an unknown tag are told in the registry's words", async () => {
  for (const [repository, tag] of [
    ["nobody/nothing", "v1"],
    ["team/app", "v9"],
  ]) {
    const name = `${repository}:${tag}`;
    const attempt = store.images.pull(named(name));
    await expect(attempt).rejects.toThrow(
      `cannot pull ${named(name)}: manifest ${tag}: ${registry.host} answered 404 (manifest unknown); check the name and tag`,
    );
    await expect(attempt).rejects.toMatchObject({ kind: "NotFound" });
  }
  expect(contentsOf(store.paths)).toEqual(["sha256", "sha512"]);
});

/** Passes bytes on to the registry, and cuts each connection after `limitBytes` of an answer. */
async function startCuttingProxy(
  limitBytes: number,
): Promise<{ server: Server; host: string; cuts: () => number }> {
  const [address, port] = registry.host.split(":") as [string, string];
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = createConnection(Number(port), address);
    let passed = 0;
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    client.on("data", (data) => upstream.write(data));
    upstream.on("data", (data) => {
      passed += data.length;
      if (passed > limitBytes) {
        cuts++;
        end();
      } else if (!client.write(data)) {
        upstream.pause();
        client.once("drain", () => upstream.resume());
      }
    });
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return { server, host, cuts: () => cuts };
}

test("a connection that is cut every few MiB still delivers a layer, by ranges", async () => {
  const proxy = await startCuttingProxy(7 << 20);
  try {
    await store[Symbol.asyncDispose]();
    store = openStore(`[registries."${proxy.host}"]\nplain_http = true\n`);
    const record = await store.images.pull(`${proxy.host}/team/big:v1`);
    expect(proxy.cuts()).toBeGreaterThanOrEqual(3);
    const [, big] = store.snapshotter.layerDirs(record.layers.map(({ chainId }) => chainId));
    expect(statSync(join(big as string, "big")).size).toBe(BIG_BYTES);
  } finally {
    proxy.server.close();
  }
}, 30_000);

test("a pull whose caller gives up midway leaves nothing", async () => {
  const controller = new AbortController();
  const attempt = store.images.pull(named("team/big:v1"), {
    signal: controller.signal,
    onProgress: ({ doneBytes }) => {
      if (doneBytes > 1 << 20) controller.abort();
    },
  });
  await expect(attempt).rejects.toMatchObject({ kind: "Canceled" });
  expect(contentsOf(store.paths)).toEqual(["sha256", "sha512"]);
  expect(store.images.list()).toEqual([]);
});

test("a disk that fills up is told by the path, and holds what it held before", async () => {
  const small = mkdtempSync(join(tmpdir(), "podrt-small-"));
  await run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small);
  const roomy = { root, store };
  try {
    root = small;
    await using full = openStore("");
    const kept = await full.images.pull(named("team/app:v1"));
    const before = contentsOf(full.paths);
    const attempt = full.images.pull(named("team/big:v1"));
    await expect(attempt).rejects.toMatchObject({ kind: "ResourceExhausted" });
    await expect(attempt).rejects.toThrow(`cannot pull ${named("team/big:v1")}: cannot write ${small}`);
    expect(contentsOf(full.paths)).toEqual(before);
    expect(full.images.list()).toEqual([kept]);
  } finally {
    ({ root, store } = roomy);
    await run("umount", small);
    rmSync(small, { recursive: true });
  }
});

test("a registry with basic authentication wants the right credentials", async () => {
  await using guarded = await startGuardedRegistry();
  await store[Symbol.asyncDispose]();
  store = openStore(`[registries."${guarded.host}"]\nplain_http = true\n`);
  const name = `${guarded.host}/team/app:v1`;
  await expect(store.images.pull(name)).rejects.toThrow("asks for credentials, and none were given");
  const wrong = store.images.pull(name, { auth: { username: "alice", password: "wrong" } });
  await expect(wrong).rejects.toMatchObject({ kind: "PermissionDenied" });
  expect(contentsOf(store.paths)).toEqual(["sha256", "sha512"]);
  const record = await store.images.pull(name, { auth: { auth: btoa("alice:secret") } });
  expect(record.repoTags).toEqual([name]);
});

/** A second registry on the same storage, which lets in alice alone. */
async function startGuardedRegistry(): Promise<Registry> {
  const htpasswd = join(scratch, "htpasswd");
  const password = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 5 });
  writeFileSync(htpasswd, `alice:${password.replace(/^\$2b/, "$2y")}\n`);
  return await startRegistry({ storageDir: join(scratch, "storage"), readOnly: true, htpasswd });
}

async function run(...command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${err}`);
  return out;
}
