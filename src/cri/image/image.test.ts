// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { clients, failure, id, newRuntime } from "../../../test/fixtures/cri-clients.ts";
import { logger } from "../../lib/logger.ts";

const { level } = logger;

beforeAll(() => {
  logger.level = "silent";
});

afterAll(() => {
  logger.level = level;
});

describe("images", () => {
  test("are listed, all or the one that a filter names", async () => {
    const { images } = clients();
    expect((await images.listImages({})).images).toHaveLength(3);
    const named = await images.listImages({ filter: { image: { image: "docker.io/library/web:latest" } } });
    expect(named.images.map((item) => item.id)).toEqual([`sha256:${id("web")}`]);
    expect((await images.listImages({ filter: { image: { image: "absent" } } })).images).toEqual([]);
    let streamed = 0;
    for await (const reply of images.streamImages({})) streamed += reply.images.length;
    expect(streamed).toBe(3);
  });

  test("are of one runtime handler, under both its names, and of no other", async () => {
    const { images } = clients();
    const named = (runtimeHandler: string) => ({ image: { image: "", runtimeHandler } });
    for (const handler of ["", "podrt"])
      expect((await images.listImages({ filter: named(handler) })).images).toHaveLength(3);
    for (const refused of [
      images.listImages({ filter: named("kata") }),
      images.imageStatus({ image: { image: "web", runtimeHandler: "kata" } }),
      images.pullImage({ image: { image: "web", runtimeHandler: "kata" } }),
      images.removeImage({ image: { image: "web", runtimeHandler: "kata" } }),
      images
        .streamImages({ filter: named("kata") })
        [Symbol.asyncIterator]()
        .next(),
    ]) {
      const error = await failure(refused);
      expect([error.code, error.rawMessage]).toEqual([
        Code.InvalidArgument,
        expect.stringMatching(/^(filter\.)?image\.runtime_handler: there is no runtime handler "kata"/),
      ]);
    }
  });

  test("have a uid, a user name, or neither", async () => {
    const { images } = await clients().images.listImages({});
    expect(images.map(({ uid, username }) => [uid?.value, username])).toEqual([
      [1002n, ""],
      [undefined, "www-data"],
      [undefined, ""],
    ]);
    expect(images.every(({ size }) => size === 1234n)).toBe(true);
  });

  test("that are not there have no status, and no error", async () => {
    expect((await clients().images.imageStatus({ image: { image: "absent" } })).image).toBeUndefined();
  });

  test("are noted as wanted where their status is asked for, as a kubelet does before it uses one", async () => {
    const { runtime } = newRuntime();
    const noted: string[] = [];
    const noteWanted = (image: string) => void noted.push(image);
    const { images } = clients({ ...runtime, images: { ...runtime.images, noteWanted } });
    await images.imageStatus({ image: { image: "docker.io/library/web:latest" } });
    await images.imageStatus({ image: { image: "absent" } });
    await images.listImages({});
    expect(noted).toEqual([`sha256:${id("web")}`]);
  });

  test("show their configuration and chain id when asked to be verbose", async () => {
    const name = { image: { image: `sha256:${id("nginx")}` } };
    expect((await clients().images.imageStatus(name)).info).toEqual({});
    const { info } = await clients().images.imageStatus({ ...name, verbose: true });
    expect(JSON.parse(info["info"]!)).toEqual({
      chainID: "sha256:top",
      imageSpec: { os: "linux", of: `sha256:${id("nginx")}` },
    });
  });

  test("that are removed while their configuration is read are not there", async () => {
    const { runtime } = newRuntime();
    const name = `sha256:${id("nginx")}`;
    const read = async () => {
      await runtime.images.remove(name);
      throw new Error("blob is missing");
    };
    const { images } = clients({ ...runtime, content: { ...runtime.content, read } });
    expect(await images.imageStatus({ image: { image: name }, verbose: true })).toMatchObject({ info: {} });
    const damaged = { ...newRuntime().runtime, content: { ...runtime.content, read } };
    damaged.images = { ...damaged.images, remove: async () => {} };
    const status = clients(damaged).images.imageStatus({ image: { image: name }, verbose: true });
    expect((await failure(status)).code).toBe(Code.Internal);
  });

  test("are pinned where the configuration says so", async () => {
    const { images } = await clients().images.listImages({});
    expect(images.map(({ repoTags, pinned }) => [repoTags[0]!, pinned])).toEqual([
      ["docker.io/library/nginx:latest", false],
      ["docker.io/library/web:latest", false],
      ["docker.io/library/plain:latest", true],
    ]);
  });

  test("are pulled with the credentials given, or with none", async () => {
    const { runtime, pulls } = newRuntime();
    const { images } = clients(runtime);
    const name = { image: "docker.io/library/web:latest" };
    expect((await images.pullImage({ image: name })).imageRef).toBe(`sha256:${id("web")}`);
    await images.pullImage({ image: name, auth: { username: "me", password: "secret", serverAddress: "r" } });
    expect(pulls[0]?.auth).toBeUndefined();
    expect(pulls[1]?.auth).toMatchObject({ username: "me", password: "secret", serverAddress: "r" });
  });

  test("of a registry that is down fail as the kubelet expects it", async () => {
    const error = await failure(clients().images.pullImage({ image: { image: "absent" } }));
    expect(error.code).toBe(Code.Unknown);
    expect(error.rawMessage).toBe("RegistryUnavailable: cannot pull absent");
  });

  test("stop being pulled when the caller's time is up", async () => {
    const pull = clients().images.pullImage({ image: { image: "slow" } }, { timeoutMs: 20 });
    expect((await failure(pull)).code).toBe(Code.DeadlineExceeded);
  });

  test("are gone once removed, and may be removed again", async () => {
    const { images } = clients();
    const name = { image: { image: "docker.io/library/web:latest" } };
    await images.removeImage(name);
    await Promise.all([images.removeImage(name), images.removeImage(name)]);
    expect((await images.imageStatus(name)).image).toBeUndefined();
    expect((await images.listImages({})).images).toHaveLength(2);
  });

  test("take space on a file system that is told with the time", async () => {
    const { imageFilesystems, containerFilesystems } = await clients().images.imageFsInfo({});
    expect(imageFilesystems[0]).toMatchObject({
      fsId: { mountpoint: "/var/lib/podrt" },
      usedBytes: { value: 2n ** 40n },
      inodesUsed: { value: 7n },
    });
    expect(imageFilesystems[0]!.timestamp).toBeGreaterThan(1_600_000_000_000_000_000n);
    expect(containerFilesystems).toHaveLength(1);
  });
});
