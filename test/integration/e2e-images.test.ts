// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeImageFiles } from "../fixtures/images/archives.ts";
import { type FaultyRegistry, startFaultyRegistry } from "../fixtures/images/faulty-registry.ts";
import { blobPath, type Descriptor, imageArchitecture } from "../fixtures/images/layout.ts";
import { prepareImages } from "../fixtures/images/prepare.ts";
import { outputOf } from "./harness/command.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { createContainer, exited, runContainer, runSandbox, shellIn } from "./harness/pods.ts";

let faulty: FaultyRegistry;
let faultyDaemon: Daemon;
let layoutDir: string;
const fixture = useDaemon();
const staging = "gcr.io/k8s-staging-cri-tools";

beforeAll(async () => {
  ({ layoutDir } = await prepareImages());
  faulty = startFaultyRegistry(layoutDir);
  const plain = [faulty.host, "127.0.0.1:1"].map((host) => `[registries."${host}"]\nplain_http = true\n`);
  faultyDaemon = await startDaemon({ config: `[image]\nstall_timeout_ms = 1000\n${plain.join("")}` });
});

afterAll(async () => {
  await faultyDaemon?.close();
  faulty?.[Symbol.dispose]();
});

async function pull(daemon: Daemon, image: string): Promise<string> {
  return (await daemon.api.pullImage({ image: { image } })).imageRef;
}

/** The digest of an image's configuration, read from the layout that was pushed. */
function configDigest(name: string, architecture: string): string {
  const document = (digest: string) => JSON.parse(readFileSync(blobPath(layoutDir, digest), "utf8"));
  const index = JSON.parse(readFileSync(join(layoutDir, "index.json"), "utf8")) as {
    manifests: Descriptor[];
  };
  const named = index.manifests.find(
    ({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === name,
  )!;
  const { manifests } = document(named.digest) as { manifests: Descriptor[] };
  const manifest = manifests.find(({ platform }) => platform?.architecture === architecture)!;
  return (document(manifest.digest) as { config: Descriptor }).config.digest;
}

/** Ids of the images less the built-in pause. */
async function pulled(daemon: Daemon): Promise<string[]> {
  const { images } = await daemon.api.listImages({});
  return images.filter(({ pinned }) => !pinned).map(({ id }) => id);
}

/** Every name below the store, to see that a failed pull leaves it as it was. */
function storeOf(daemon: Daemon): string[] {
  return ["blobs", "layers", "ingest"].flatMap((name) =>
    readdirSync(join(daemon.root, "lib", name), { recursive: true, encoding: "utf8" }).sort(),
  );
}

test("an image has one id whatever its names, and its tags and digests are listed", async () => {
  const { api } = fixture.daemon;
  const ids = [
    await pull(fixture.daemon, `${staging}/test-image-tags:1`),
    await pull(fixture.daemon, `${staging}/test-image-tags:2`),
    await pull(fixture.daemon, `${staging}/test-image-tags:1`),
  ];
  expect(new Set(ids).size).toBe(1);
  expect(ids[0]).toMatch(/^sha256:[0-9a-f]{64}$/);
  const { image } = await api.imageStatus({ image: { image: `${staging}/test-image-tags:2` } });
  expect(image!.repoTags.toSorted()).toEqual([
    `${staging}/test-image-tags:1`,
    `${staging}/test-image-tags:2`,
  ]);
  expect(image!.repoDigests).toHaveLength(1);
  expect(image!.repoDigests[0]).toStartWith(`${staging}/test-image-tags@sha256:`);
  expect(image!.size).toBeGreaterThan(100_000n);
  for (const name of [ids[0]!, ids[0]!.slice(7, 20), image!.repoDigests[0]!]) {
    expect((await api.imageStatus({ image: { image: name } })).image?.id).toBe(ids[0]!);
  }
});

test("an image pulled by digest has no tag", async () => {
  const { api } = fixture.daemon;
  await pull(fixture.daemon, `${staging}/test-image-digest:latest`);
  const tagged = (await api.imageStatus({ image: { image: `${staging}/test-image-digest` } })).image!;
  const byDigest = tagged.repoDigests[0]!;
  await api.removeImage({ image: { image: byDigest } });
  expect((await api.imageStatus({ image: { image: byDigest } })).image).toBeUndefined();
  expect(await pull(fixture.daemon, byDigest)).toBe(tagged.id);
  const again = (await api.imageStatus({ image: { image: byDigest } })).image!;
  expect(again.repoTags).toEqual([]);
  expect(again.repoDigests).toEqual([byDigest]);
});

test("an index gives the image of this machine's architecture, and a Docker manifest is understood", async () => {
  const id = await pull(fixture.daemon, "registry.k8s.io/e2e-test-images/busybox:1.29-2");
  expect(id).toBe(configDigest("e2e-test-images/busybox:1.29-2", imageArchitecture));
  expect(await pull(fixture.daemon, "registry.k8s.io/e2e-test-images/nginx:1.14-2")).toMatch(/^sha256:/);
});

test("the user of an image is told as a number or as a name", async () => {
  const expected = {
    "test-image-user-uid": { uid: { value: 1002n }, username: "" },
    "test-image-user-username": { uid: undefined, username: "www-data" },
    "test-image-user-uid-group": { uid: { value: 1003n }, username: "" },
    "test-image-user-username-group": { uid: undefined, username: "www-data" },
  };
  for (const [name, user] of Object.entries(expected)) {
    await pull(fixture.daemon, `${staging}/${name}`);
    const { image } = await fixture.daemon.api.imageStatus({ image: { image: `${staging}/${name}` } });
    expect({ uid: image!.uid?.value, username: image!.username }).toEqual({
      uid: user.uid?.value,
      username: user.username,
    } as never);
  }
});

test("layers keep modes, owners, times, links, attributes, devices and names, and whiteouts take away", async () => {
  const { daemon } = fixture;
  const image = "registry.k8s.io/podrt/layer-cases";
  const sandboxId = await runSandbox(daemon, "layers");
  const id = await runContainer(daemon, sandboxId, { name: "layers", image: { image } });
  const list = (await shellIn(daemon, id, "cd /cases && for name in *; do echo $name; done"))
    .split("\n")
    .sort();
  expect(list).toEqual(
    [
      "attributes",
      "capability",
      "dangling",
      "directory-with-a-long-name",
      "fifo",
      "first",
      "grüße-世界",
      "long-link",
      "null",
      "old",
      "opaque",
      "replaced-by-directory",
      "replaced-by-file",
      "second",
      "setgid",
      "setuid",
    ].sort(),
  );
  const stat = (format: string, ...names: string[]) =>
    shellIn(daemon, id, `cd /cases && stat -c '${format}' ${names.join(" ")}`);
  expect(await stat("%n %a %u %g %F", "first", "setuid", "setgid", "fifo", "null", "dangling")).toBe(
    [
      "first 640 1000 50000 regular file",
      "setuid 4755 0 0 regular empty file",
      "setgid 2775 0 33 directory",
      "fifo 644 0 0 fifo",
      "null 666 0 0 character special file",
      "dangling 777 0 0 symbolic link",
    ].join("\n"),
  );
  const [first, second] = (await stat("%i %h", "first", "second")).split("\n");
  expect(first).toBe(second!);
  expect(first).toEndWith(" 2");
  expect(await stat("%t %T", "null")).toBe("1 3");
  expect(await stat("%Y", "old")).toBe("946684799");
  expect(await stat("%Y", "opaque", "first")).toBe("1767225600\n1767225600");
  expect(await shellIn(daemon, id, "ls -A /cases/opaque")).toBe("above");
  expect(await shellIn(daemon, id, "cat /cases/replaced-by-directory/inside")).toBe("now a directory");
  expect(await shellIn(daemon, id, "cat /cases/replaced-by-file")).toBe("now a file");
  expect(await shellIn(daemon, id, "cat /cases/long-link")).toBe("deep");
  const merged = `/proc/${await hostPid(daemon, id)}/root/cases`;
  const archive = ["--xattrs", "--xattrs-include=*", "-C", merged, "-cf", "-", "attributes", "capability"];
  const pax = (await outputOf("tar", archive)).replaceAll("\0", "");
  expect(pax).toContain("SCHILY.xattr.user.podrt=kept\n");
  // vfs_cap_data of revision 2 with CAP_NET_RAW, less its zeros.
  expect(pax).toContain("SCHILY.xattr.security.capability=\x01\x02 ");
});

async function hostPid(daemon: Daemon, containerId: string): Promise<number> {
  const { info } = await daemon.api.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info["info"]!) as { pid: number }).pid;
}

test("an OCI layout, an OCI archive and a docker archive are imported as the same image", async () => {
  const { daemon } = fixture;
  const dir = mkdtempSync(join(tmpdir(), "podrt-import-"));
  try {
    const files = writeImageFiles(layoutDir, "library/nginx:latest", dir);
    for (const path of [files.layoutDir, files.ociArchive, files.dockerArchive]) {
      const { code, stdout, stderr } = await daemon.podrt("import", "--name", "example.com/imported:1", path);
      expect({ code, stderr }).toMatchObject({
        code: 0,
        stderr: expect.stringMatching(/^\S+: layer \S+: done$/m),
      });
      expect(stdout).toContain("example.com/imported:1");
      const { image } = await daemon.api.imageStatus({ image: { image: "example.com/imported:1" } });
      expect(image?.id).toBe(files.id);
      await daemon.api.removeImage({ image: { image: files.id } });
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
  const bad = await daemon.podrt("import", "/dev/null");
  expect(bad.code).toBe(1);
  expect(bad.stderr).toMatch(/^podrt: .*\/dev\/null.*\n$/);
});

test("a removed image is gone with all its names and blobs, and one that never was is removed gladly", async () => {
  const { daemon } = fixture;
  await Promise.all(
    (await daemon.api.listPodSandbox({})).items.map(({ id }) =>
      daemon.api.removePodSandbox({ podSandboxId: id }),
    ),
  );
  for (const { id } of (await daemon.api.listImages({})).images)
    await daemon.api.removeImage({ image: { image: id } });
  expect((await daemon.api.listImages({})).images).toEqual([]);
  expect(storeOf(daemon).filter((name) => /[0-9a-f]{64}/.test(name))).toEqual([]);
  await daemon.api.removeImage({ image: { image: "0".repeat(64) } });
  await daemon.api.removeImage({ image: { image: "example.com/never:seen" } });
});

test("two pulls of one image at once share the work", async () => {
  const ids = await Promise.all(Array.from({ length: 5 }, () => pull(fixture.daemon, "busybox")));
  expect(new Set(ids).size).toBe(1);
});

test("a container keeps its root file system while its image is removed and pulled again", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "keeps");
  const id = await runContainer(daemon, sandboxId, { name: "keeps" });
  await daemon.api.removeImage({ image: { image: "busybox" } }).catch(() => {});
  expect(await shellIn(daemon, id, "busybox echo still here")).toBe("still here");
  await pull(daemon, "busybox");
  const again = await createContainer(daemon, sandboxId, { name: "again", command: ["true"] });
  await daemon.api.startContainer({ containerId: again });
  expect((await exited(daemon, again)).exitCode).toBe(0);
});

// What goes wrong, what the one sentence must name beside reference and host.
const failures: readonly (readonly [string, RegExp])[] = [
  ["truncated-layer", /layer|sha256/],
  ["wrong-layer", /digest/],
  ["wrong-config", /digest/],
  ["wrong-manifest", /digest/],
  ["silent-manifest", /1000 ms|1 s|time|answer/],
  ["silent-layer", /1000 ms|1 s|time|nothing/],
  ["server-error", /500/],
  ["not-json", /JSON|manifest/],
];

for (const [fault, cause] of failures) {
  test(`a pull that meets ${fault} says so in one sentence and leaves the store as it was`, async () => {
    const before = storeOf(faultyDaemon);
    const reference = `${faulty.host}/${fault}:latest`;
    const { code, stderr } = await faultyDaemon.podrt("pull", reference);
    expect(code).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toStartWith("podrt: ");
    expect(stderr).toContain(reference);
    expect(stderr).toMatch(cause);
    expect(storeOf(faultyDaemon)).toEqual(before);
    expect(await pulled(faultyDaemon)).toEqual([]);
  });
}

test("an image that does not exist and a registry that is not there are told apart", async () => {
  const missing = await fixture.daemon.podrt("pull", `${fixture.registry.host}/no/such-image:1`);
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain(`${fixture.registry.host}/no/such-image:1`);
  expect(missing.stderr).toMatch(/404.*manifest unknown/);
  const closed = await faultyDaemon.podrt("pull", "127.0.0.1:1/busybox:latest");
  expect(closed.code).toBe(1);
  expect(closed.stderr).toContain("127.0.0.1:1/busybox:latest");
  expect(closed.stderr).toMatch(/refused|cannot (reach|connect)|not answer/i);
});

test("no space left says so, leaves the store as it was, and the daemon goes on", async () => {
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  await outputOf("mount", ["-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", root]);
  try {
    const small = await startDaemon({ mirror: fixture.registry.host, root });
    try {
      // The image that podrt brings along is there by now.
      expect(await pulled(small)).toEqual([]);
      const before = storeOf(small);
      const { code, stderr } = await small.podrt("pull", "nginx");
      expect(code).toBe(1);
      expect(stderr).toMatch(/docker\.io\/library\/nginx:latest.*(no space left|ENOSPC)/i);
      expect(storeOf(small)).toEqual(before);
      expect((await small.api.version({})).runtimeName).toBe("podrt");
      expect(await pulled(small)).toEqual([]);
    } finally {
      await small.close().catch((error: unknown) => {
        // The directory itself is a mount point here and cannot be removed.
        if (!String(error).includes("EBUSY")) throw error;
      });
    }
  } finally {
    await outputOf("umount", [root]);
    rmSync(root, { recursive: true, force: true });
  }
});
