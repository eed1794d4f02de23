// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { PAUSE_ELF } from "../../src/linux/machine-code.ts";
import { type GuardedRegistry, secrets, startGuardedRegistry } from "../fixtures/images/guarded-registry.ts";
import { prepareImages } from "../fixtures/images/prepare.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerPid, createContainer, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { procLink, procText } from "./harness/proc.ts";

const builtIn = "localhost/podrt/pause:built-in";
const ofKubernetes = "registry.k8s.io/pause:3.10";
const staging = "gcr.io/k8s-staging-cri-tools";
const fixture = useDaemon({ config: '[image]\npinned = ["gcr.io/k8s-staging-cri-tools/test-image-1*"]\n' });
let guarded: GuardedRegistry;

beforeAll(async () => {
  guarded = startGuardedRegistry((await prepareImages()).layoutDir);
});
afterAll(() => guarded?.[Symbol.dispose]());

async function statusOf(image: string) {
  return (await fixture.daemon.api.imageStatus({ image: { image } })).image;
}

async function failure(work: Promise<unknown>): Promise<ConnectError> {
  return work.then(
    () => {
      throw new Error("it succeeded");
    },
    (error: unknown) => ConnectError.from(error),
  );
}

/** Digests of the blobs, and the number of layers, that are on disk. */
function stored(): { blobs: string[]; layers: number } {
  const dir = join(fixture.daemon.root, "lib");
  return {
    blobs: readdirSync(join(dir, "blobs/sha256")).sort(),
    layers: readdirSync(join(dir, "layers")).length,
  };
}

test("the built-in pause is listed, pinned, and can be run", async () => {
  const { daemon } = fixture;
  const image = (await statusOf(ofKubernetes))!;
  expect(image).toMatchObject({ pinned: true, uid: { value: 65535n }, username: "" });
  expect(image.repoTags).toContain(builtIn);
  expect(image.size).toBeGreaterThan(BigInt(PAUSE_ELF.length));
  const { images } = await daemon.api.listImages({ filter: { image: { image: builtIn } } });
  expect(images.map(({ id }) => id)).toEqual([image.id]);
  const { info } = await daemon.api.status({ verbose: true });
  expect(JSON.parse(info["config"]!)).toMatchObject({ sandboxImage: builtIn });

  const sandboxId = await runSandbox(daemon, "paused");
  const id = await runContainer(daemon, sandboxId, {
    name: "pause",
    image: { image: ofKubernetes },
    command: [],
  });
  const pid = await containerPid(daemon, id);
  expect(procLink(`/proc/${pid}/exe`)).toBe("/pause");
  expect(readFileSync(`/proc/${pid}/exe`)).toEqual(Buffer.from(PAUSE_ELF));
  // Before it waits for signals it is deaf to them, as any first process of a namespace.
  await eventually("it hears SIGTERM", () =>
    /^Sig(Blk|Cgt):\t0*[1-9a-f]/m.test(procText(`/proc/${pid}/status`)),
  );
  await daemon.api.stopContainer({ containerId: id, timeout: 30n });
  const { status } = await daemon.api.containerStatus({ containerId: id });
  expect(status).toMatchObject({ exitCode: 0, reason: "Completed", imageId: image.id });
  const verbose = await daemon.api.podSandboxStatus({ podSandboxId: sandboxId, verbose: true });
  expect(JSON.parse(verbose.info["info"]!)).toMatchObject({ image: builtIn });
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
});

test("the built-in pause can be removed, pods do without it, and the next start brings it back", async () => {
  const { daemon } = fixture;
  const image = (await statusOf(ofKubernetes))!;
  await daemon.api.removeImage({ image: { image: ofKubernetes } });
  expect(await statusOf(builtIn)).toBeUndefined();
  const sandboxId = await runSandbox(daemon, "without");
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  await daemon.kill();
  await daemon.start();
  expect((await statusOf(builtIn))!.id).toBe(image.id);
});

test("images that the configuration names are pinned, and others are not", async () => {
  const { daemon } = fixture;
  for (const name of ["test-image-1", "test-image-2"])
    await daemon.api.pullImage({ image: { image: `${staging}/${name}` } });
  expect((await statusOf(`${staging}/test-image-1`))!.pinned).toBe(true);
  expect((await statusOf(`${staging}/test-image-2`))!.pinned).toBe(false);
  await daemon.api.removeImage({ image: { image: `${staging}/test-image-1` } });
  expect(await statusOf(`${staging}/test-image-1`)).toBeUndefined();
});

test("a verbose status has the image's whole configuration and its chain id", async () => {
  const { daemon } = fixture;
  await daemon.api.pullImage({ image: { image: "nginx" } });
  const { image, info } = await daemon.api.imageStatus({ image: { image: "nginx" }, verbose: true });
  const { imageSpec, chainID } = JSON.parse(info["info"]!);
  const text = JSON.stringify(imageSpec);
  expect(`sha256:${createHash("sha256").update(text).digest("hex")}`).toBe(image!.id);
  expect(imageSpec).toMatchObject({ os: "linux", config: { StopSignal: "SIGQUIT" } });
  const chained = (imageSpec.rootfs.diff_ids as string[]).reduce(
    (parent, diffId) => `sha256:${createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`,
  );
  expect(chainID).toBe(chained);
  expect((await daemon.api.imageStatus({ image: { image: "nginx" } })).info).toEqual({});
});

const password = { username: secrets.username, password: secrets.password };
const encoded = Buffer.from(`${secrets.username}:${secrets.password}`).toString("base64");

test("every kind of credentials opens the registry that asks for it", async () => {
  const { api } = fixture.daemon;
  const accepted = [
    ["basic", password],
    ["basic", { auth: encoded }],
    ["basic", { ...password, serverAddress: `http://${guarded.host}/v1/` }],
    ["bearer", password],
    ["bearer", { identityToken: secrets.identityToken }],
    ["bearer", { registryToken: secrets.registryToken }],
  ] as const;
  for (const [guard, auth] of accepted) {
    const image = { image: `${guarded.host}/${guard}/busybox` };
    const { imageRef } = await api.pullImage({ image, auth });
    await api.removeImage({ image: { image: imageRef } });
  }
});

test("wrong credentials, none, and those for another registry do not, and no message or file has them", async () => {
  const { api, log, root } = fixture.daemon;
  guarded.heard.length = 0;
  for (const guard of ["basic", "bearer"]) {
    const image = { image: `${guarded.host}/${guard}/busybox` };
    for (const auth of [undefined, { ...password, serverAddress: "registry.example.com" }]) {
      const error = await failure(api.pullImage({ image, ...(auth === undefined ? {} : { auth }) }));
      expect([error.code, error.rawMessage]).toEqual([
        Code.PermissionDenied,
        expect.stringMatching(/asks for credentials|does not accept/),
      ]);
    }
  }
  // Credentials for another registry were not sent, nor was anything else.
  expect(guarded.heard).toEqual([]);
  const wrong = { username: secrets.username, password: "wr0ng-password-of-the-test" };
  const image = { image: `${guarded.host}/basic/busybox` };
  const error = await failure(api.pullImage({ image, auth: wrong }));
  expect([error.code, error.rawMessage]).toEqual([
    Code.PermissionDenied,
    expect.stringContaining("does not accept"),
  ]);
  const malformed = await failure(api.pullImage({ image, auth: { auth: "no base64 of-the-test" } }));
  expect([malformed.code, malformed.rawMessage]).toEqual([
    Code.InvalidArgument,
    "auth.auth: is not the base64 form of username:password",
  ]);
  const kept = ["podrt.db", "podrt.db-wal"].map((name) => readFileSync(join(root, "lib", name), "latin1"));
  const told = [log(), error.rawMessage, malformed.rawMessage, ...kept].join("\n");
  expect(told).not.toContain("of-the-test");
  expect(told).not.toContain(encoded);
});

test("a registry that is down is told as the kubelet expects it", async () => {
  const error = await failure(fixture.daemon.api.pullImage({ image: { image: "127.0.0.1:1/some:tag" } }));
  expect(error.code).toBe(Code.Unknown);
  expect(error.rawMessage).toStartWith("RegistryUnavailable: cannot pull 127.0.0.1:1/some:tag: ");
});

test("a pull that has no time leaves nothing", async () => {
  const { api } = fixture.daemon;
  const before = stored();
  const image = { image: `${staging}/test-image-3` };
  const error = await failure(api.pullImage({ image }, { timeoutMs: 1 }));
  expect(error.code).toBe(Code.DeadlineExceeded);
  await eventually("the store is as it was", () => Bun.deepEquals(stored(), before));
  expect(await statusOf(image.image)).toBeUndefined();
});

test("pulls, removals and containers of one image at once never meet a half of it", async () => {
  const { daemon } = fixture;
  const name = `${staging}/test-image-tags`;
  const { imageRef } = await daemon.api.pullImage({ image: { image: `${name}:1` } });
  const sandboxId = await runSandbox(daemon, "busy");
  const endMs = performance.now() + 4000;
  const counts = { pulls: 0, removals: 0, containers: 0 };
  const repeat = async (work: () => Promise<void>) => {
    while (performance.now() < endMs) await work();
  };
  const pull = (tag: string) => async () => {
    expect((await daemon.api.pullImage({ image: { image: `${name}:${tag}` } })).imageRef).toBe(imageRef);
    counts.pulls += 1;
  };
  const remove = async () => {
    await daemon.api.removeImage({ image: { image: imageRef } });
    counts.removals += 1;
    await Bun.sleep(10);
  };
  const look = async () => {
    const { images } = await daemon.api.listImages({});
    for (const image of images.filter(({ id }) => id === imageRef)) expect(image.size).toBeGreaterThan(0n);
    const image = await statusOf(imageRef);
    if (image !== undefined) expect(image.repoTags.every((tag) => tag.startsWith(name))).toBe(true);
  };
  let number = 0;
  const container = async () => {
    const config = { name: `busy-${number++}`, image: { image: `${name}:1` } };
    const created = await createContainer(daemon, sandboxId, config).catch((error: unknown) => {
      // Removed between its pull and the creation.
      if (ConnectError.from(error).code !== Code.NotFound) throw error;
      return undefined;
    });
    if (created === undefined) return;
    await daemon.api.startContainer({ containerId: created });
    expect(await shellIn(daemon, created, "cat /test-image-tags")).toBe("test-image-tags");
    await daemon.api.removeContainer({ containerId: created });
    counts.containers += 1;
  };
  await Promise.all(
    [pull("1"), pull("2"), pull("1"), remove, look, container, container].map((work) => repeat(work)),
  );
  for (const count of [counts.pulls, counts.removals, counts.containers]) expect(count).toBeGreaterThan(0);

  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  for (const { id } of (await daemon.api.listImages({})).images)
    await daemon.api.removeImage({ image: { image: id } });
  await eventually("nothing is left of any image", () => Bun.deepEquals(stored(), { blobs: [], layers: 0 }));
});
