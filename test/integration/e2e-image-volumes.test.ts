// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { mountAt, mountsOf } from "./harness/host-mounts.ts";
import {
  type ContainerConfig,
  containerPid,
  containerStatus,
  createContainer,
  ensureImage,
  execIn,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";

const content = "registry.k8s.io/podrt/volume-content:latest";
const layered = "registry.k8s.io/podrt/layer-cases:latest";

const fixture = useDaemon();
let sandboxId: string;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "image-volumes");
  for (const image of [content, layered]) await ensureImage(fixture.daemon, image);
});

interface Volume {
  readonly image?: string;
  readonly at?: string;
  readonly imageSubPath?: string;
  readonly mountOptions?: string[];
}

function withVolumes(name: string, ...volumes: readonly Volume[]): ContainerConfig & { name: string } {
  const mounts = volumes.map(({ image = content, at = "/volume", ...more }) => ({
    image: { image },
    containerPath: at,
    readonly: true,
    ...more,
  }));
  return { name, mounts } as ContainerConfig & { name: string };
}

/** The message of the error that a caller's `CreateContainer` ends with, as it travels. */
async function refusal(volume: Volume): Promise<string> {
  const creation = createContainer(fixture.daemon, sandboxId, withVolumes("refused", volume));
  const error = await creation.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const { containers } = await fixture.daemon.api.listContainers({});
  expect(containers.filter(({ metadata }) => metadata?.name === "refused")).toEqual([]);
  return error instanceof ConnectError ? error.rawMessage : String(error);
}

test("an image's content is there, with its owners, to be read and executed but not written", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, sandboxId, withVolumes("whole", {}));
  expect(await shellIn(daemon, id, "cat /volume/content/data; stat -c %u /volume/content/data")).toBe(
    "of the volume\n33",
  );
  expect(await shellIn(daemon, id, "/volume/content/run; cat /volume/relative/er/data")).toBe("ran\ndeeper");
  expect(await shellIn(daemon, id, "ls -A /volume/content")).toBe("data\ndeep\nrun");
  for (const line of ["touch /volume/new", "chmod 777 /volume/content", "rm /volume/content/data"]) {
    expect((await execIn(daemon, id, "sh", "-c", line)).stderr).toContain("Read-only file system");
  }
  const { type, options } = mountAt(await containerPid(daemon, id), "/volume");
  expect([type, options.includes("ro"), options.includes("noexec")]).toEqual(["overlay", true, false]);
});

test("layers lie on each other as in a root", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, sandboxId, withVolumes("layers", { image: layered }));
  expect(
    await shellIn(daemon, id, "cd /volume/cases; ls -d removed* 2>/dev/null; ls opaque; cat first"),
  ).toBe("above\nshared");
});

test.each([
  ["content/deep", "er/data"],
  ["/content/deep/", "er/data"],
  ["relative", "er/data"],
  ["absolute/deep/er", "data"],
  ["outside/deep", "er/data"],
])("of a part (%s) only that part is there", async (imageSubPath, file) => {
  const { daemon } = fixture;
  const name = `part-${imageSubPath.replaceAll("/", "-")}`;
  const id = await runContainer(daemon, sandboxId, withVolumes(name, { imageSubPath }));
  expect(await shellIn(daemon, id, `cat /volume/${file}`)).toBe("deeper");
  const mounts = mountsOf(await containerPid(daemon, id)).filter(({ path }) => path.startsWith("/volume"));
  expect(mounts.map(({ path, type }) => [path, type])).toEqual([["/volume", "overlay"]]);
  expect((await execIn(daemon, id, "ls", "/volume/content")).code).not.toBe(0);
  expect((await execIn(daemon, id, "touch", "/volume/new")).stderr).toContain("Read-only file system");
  expect((await containerStatus(daemon, id)).mounts[0]?.imageSubPath).toBe(imageSubPath);
});

test.each([
  ["content/nothing", "ENOENT"],
  ["content/data", "ENOTDIR"],
  ["dangling", "ENOENT"],
  ["host", "ENOENT"],
])("a part that is no directory of the image (%s) fails as the kubelet expects it", async (part, code) => {
  expect(await refusal({ imageSubPath: part })).toBe(
    `ImageVolumeMountFailed: config.mounts[0].image_sub_path: image ${content} has no directory ${part} (${code})`,
  );
});

test("an image that is not present fails as the kubelet expects it", async () => {
  expect(await refusal({ image: "registry.k8s.io/podrt/absent" })).toBe(
    "ImageVolumeMountFailed: config.mounts[0].image: image registry.k8s.io/podrt/absent is not present; pull it before it is mounted",
  );
});

test("the status names the image by its id, by which a kubelet spares it", async () => {
  const { daemon } = fixture;
  const { image } = await daemon.api.imageStatus({ image: { image: content } });
  const id = await createContainer(
    daemon,
    sandboxId,
    withVolumes("status", { imageSubPath: "content", mountOptions: ["noexec"] }),
  );
  expect((await containerStatus(daemon, id)).mounts).toEqual([
    expect.objectContaining({
      containerPath: "/volume",
      hostPath: "",
      readonly: true,
      imageSubPath: "content",
      mountOptions: ["noexec"],
      image: expect.objectContaining({ image: image!.id, imageRef: image!.repoDigests[0] }),
    }),
  ]);
  await daemon.api.startContainer({ containerId: id });
  expect(mountAt(await containerPid(daemon, id), "/volume").options).toContain("noexec");
  expect((await execIn(daemon, id, "/bin/sh", "-c", "/volume/run")).stderr).toContain("Permission denied");
});

test("containers of a pod, and places in one container, have the same image side by side", async () => {
  const { daemon } = fixture;
  const two = withVolumes("side-one", { at: "/one" }, { at: "/one/content/deep", imageSubPath: "content" });
  const first = await runContainer(daemon, sandboxId, two);
  const second = await runContainer(daemon, sandboxId, withVolumes("side-two", {}));
  expect(await shellIn(daemon, first, "cat /one/content/deep/data")).toBe("of the volume");
  await daemon.api.removeContainer({ containerId: first });
  expect(await shellIn(daemon, second, "cat /volume/content/data")).toBe("of the volume");
  expect(
    mountsOf("self").filter(({ path, type }) => type === "overlay" && path.startsWith(daemon.root)),
  ).toEqual([]);
});

test("a created container starts after its image was removed, and after a restart of the daemon", async () => {
  const { daemon } = fixture;
  const layers = () => readdirSync(join(daemon.root, "lib/layers")).filter((name) => /^\d+$/.test(name));
  const before = layers().length;
  const whole = await createContainer(daemon, sandboxId, withVolumes("kept-whole", {}));
  const part = await createContainer(
    daemon,
    sandboxId,
    withVolumes("kept-part", { imageSubPath: "relative" }),
  );
  for (const { id } of (await daemon.api.listContainers({})).containers) {
    if (id !== whole && id !== part) await daemon.api.removeContainer({ containerId: id });
  }
  await daemon.api.removeImage({ image: { image: content } });
  expect((await daemon.api.imageStatus({ image: { image: content } })).image).toBeUndefined();
  await daemon.kill();
  await daemon.start();
  expect(layers().length).toBe(before);
  for (const containerId of [whole, part]) await daemon.api.startContainer({ containerId });
  expect(await shellIn(daemon, whole, "cat /volume/content/data")).toBe("of the volume");
  expect(await shellIn(daemon, part, "cat /volume/er/data")).toBe("deeper");

  await daemon.api.removeContainer({ containerId: whole });
  expect(layers().length).toBe(before);
  await daemon.api.removeContainer({ containerId: part });
  await eventually("the layer of the removed image is gone", () => layers().length === before - 1);
  await ensureImage(daemon, content);
});
