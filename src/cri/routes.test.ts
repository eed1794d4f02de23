// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import fc from "fast-check";
import type { Runtime } from "../container/runtime.ts";
import { PodrtError, UnavailableError } from "../errors.ts";
import { ContainerState, ImageService, PodSandboxState, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import type { ImageRecord, Images, PullOptions } from "../image/images.ts";
import { logger } from "../lib/logger.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { observe, validate } from "./interceptors.ts";
import { messageOfType } from "./message-arbitrary.ts";
import { criRoutes } from "./routes.ts";
import { validateRequest } from "./validate.ts";

const { level } = logger;

beforeAll(() => {
  logger.level = "silent";
});

afterAll(() => {
  logger.level = level;
});

const id = (start: string) => start.padEnd(64, "0");

function sandbox(start: string, fields: Partial<SandboxRecord>): [string, SandboxRecord] {
  const record = {
    id: id(start),
    name: `pod-${start}`,
    namespace: "default",
    uid: start,
    attempt: 2,
    runtimeHandler: "",
    config: { labels: { app: start, tier: "web" }, annotations: { note: "x" } },
    addresses: [],
    ...fields,
  };
  return [record.id, record as unknown as SandboxRecord];
}

function container(start: string, fields: Partial<ContainerRecord>): [string, ContainerRecord] {
  const record = {
    id: id(start),
    sandboxId: id("aa"),
    name: `app-${start}`,
    attempt: 0,
    created: true,
    config: { labels: { app: start } },
    imageName: "docker.io/library/nginx:1",
    runtimeSpec: {
      process: { user: { uid: 0, gid: 0, additionalGids: [] }, capabilities: { bounding: [] } },
      linux: {},
    },
    ...fields,
  };
  return [record.id, record as unknown as ContainerRecord];
}

function image(start: string, user: string): ImageRecord {
  return {
    id: `sha256:${id(start)}`,
    repoTags: [`docker.io/library/${start}:latest`],
    repoDigests: [],
    sizeBytes: 1234,
    config: { User: user },
    layers: [{ chainId: "sha256:bottom" }, { chainId: "sha256:top" }],
    pinned: false,
  } as unknown as ImageRecord;
}

/** Images in memory: pulls what is there already, waits for ever for `slow`, fails for all else. */
function fakeImages(records: ImageRecord[], seen: PullOptions[]): Partial<Images> {
  const find = (name: string) =>
    records.find((record) => record.id === name || record.repoTags.includes(name));
  return {
    list: () => records,
    find,
    async remove(name) {
      const record = find(name);
      if (record !== undefined) records.splice(records.indexOf(record), 1);
    },
    async pull(name, options = {}) {
      seen.push(options);
      if (name === "slow") {
        await new Promise((_resolve, reject) => {
          options.signal?.addEventListener("abort", () => reject(new PodrtError("Canceled", "pull stopped")));
        });
      }
      const record = find(name);
      if (record === undefined) throw new UnavailableError(`RegistryUnavailable: cannot pull ${name}`);
      return record;
    },
    usage: async () => ({ mountpoint: "/var/lib/podrt", usedBytes: 2 ** 40, inodesUsed: 7 }),
  };
}

/** What calls read of a table. */
function table<T>(map: Map<string, T>) {
  return { get: (key: string) => map.get(key), keys: () => map.keys(), list: () => [...map.values()] };
}

function newRuntime(network = { ready: true, reason: "", message: "" }) {
  const pulls: PullOptions[] = [];
  const sandboxes = new Map([
    sandbox("aa", { createdAtNs: "999", readyAtNs: "999" }),
    sandbox("ab", { createdAtNs: "1002", readyAtNs: "1003" }),
    sandbox("ac", { createdAtNs: "1001", readyAtNs: "1", end: { atNs: "2", reason: "stopped" } }),
    sandbox("ad", { createdAtNs: "1004" }),
  ]);
  const containers = new Map([
    container("ca", { createdAtNs: "1", startedAtNs: "5" }),
    container("cb", { createdAtNs: "20" }),
    container("cc", { createdAtNs: "3", sandboxId: id("ab"), startedAtNs: "4", finishedAtNs: "6" }),
    container("cd", { createdAtNs: "30", created: false }),
  ]);
  const runtime = {
    paths: { stateDir: "/var/lib/podrt", podsDir: "/run/podrt/pods" },
    config: { network: {}, image: {}, cgroup: {} },
    sandboxes: table(sandboxes),
    containers: table(containers),
    images: fakeImages([image("nginx", "1002:5"), image("web", "www-data"), image("plain", "")], pulls),
    network: { status: () => network },
  } as unknown as Runtime;
  return { runtime, pulls };
}

function clients(runtime = newRuntime().runtime) {
  const interceptors = [observe({ unary: 0 }), validate];
  const transport = createRouterTransport(criRoutes(runtime), { router: { interceptors } });
  return {
    cri: createClient(RuntimeService, transport),
    images: createClient(ImageService, transport),
    transport,
  };
}

async function failure(work: Promise<unknown>): Promise<ConnectError> {
  try {
    await work;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("it succeeded");
}

describe("the runtime tells", () => {
  test("its version in all four fields", async () => {
    const version = await clients().cri.version({});
    expect(version).toMatchObject({ version: "0.1.0", runtimeName: "podrt", runtimeApiVersion: "v1" });
    expect(version.runtimeVersion).toMatch(/^\d+\.\d+\.\d+/);
  });

  test("its cgroup driver, which is not the zero value", async () => {
    expect((await clients().cri.runtimeConfig({})).linux?.cgroupDriver).toBe(1);
  });

  test("that it and the network are ready, and its handler under both names", async () => {
    const status = await clients().cri.status({});
    expect(status.status?.conditions.map(({ type, status: ready }) => [type, ready])).toEqual([
      ["RuntimeReady", true],
      ["NetworkReady", true],
    ]);
    expect(status.runtimeHandlers.map(({ name }) => name)).toEqual(["", "podrt"]);
    expect(status.features?.supplementalGroupsPolicy).toBe(true);
    expect(status.info).toEqual({});
  });

  test("why the network is not ready", async () => {
    const { runtime } = newRuntime({ ready: false, reason: "", message: "no bridge" });
    const [, network] = (await clients(runtime).cri.status({})).status?.conditions ?? [];
    expect(network).toMatchObject({
      status: false,
      reason: "NetworkPluginNotReady",
      message: "Network plugin returns error: no bridge",
    });
  });

  test("its configuration as JSON when asked to be verbose", async () => {
    const { info } = await clients().cri.status({ verbose: true });
    expect(JSON.parse(info["config"]!)).toMatchObject({ stateDir: "/var/lib/podrt" });
  });
});

describe("sandboxes are listed", () => {
  const list = async (filter: object) => {
    const { items } = await clients().cri.listPodSandbox({ filter });
    return items.map((item) => item.id.slice(0, 2));
  };

  test("newest first, without those that are being made", async () => {
    expect(await list({})).toEqual(["ab", "ac", "aa"]);
    expect((await clients().cri.listPodSandbox({})).items).toHaveLength(3);
  });

  test("by the beginning of an id, by state and by labels, all of which must match", async () => {
    expect(await list({ id: "ab" })).toEqual(["ab"]);
    expect(await list({ id: "ff" })).toEqual([]);
    expect(await list({ state: { state: PodSandboxState.SANDBOX_NOTREADY } })).toEqual(["ac"]);
    expect(await list({ state: { state: PodSandboxState.SANDBOX_READY } })).toEqual(["ab", "aa"]);
    expect(await list({ labelSelector: { tier: "web", app: "ac" } })).toEqual(["ac"]);
    expect(await list({ labelSelector: { tier: "db" } })).toEqual([]);
    expect(await list({ id: "ab", state: { state: PodSandboxState.SANDBOX_NOTREADY } })).toEqual([]);
  });

  test("but never by a beginning that several ids have", async () => {
    const error = await failure(clients().cri.listPodSandbox({ filter: { id: "a" } }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toStartWith("filter.id: ");
  });

  test("not by a label that every object has from birth", async () => {
    expect(await list({ labelSelector: { constructor: "x" } })).toEqual([]);
  });

  test("in a stream with the same items", async () => {
    const found: string[] = [];
    for await (const reply of clients().cri.streamPodSandboxes({})) {
      found.push(...reply.podSandboxes.map((item) => item.id.slice(0, 2)));
    }
    expect(found).toEqual(["ab", "ac", "aa"]);
  });
});

describe("containers are listed", () => {
  const list = async (filter: object) => {
    const { containers } = await clients().cri.listContainers({ filter });
    return containers.map((item) => item.id.slice(0, 2));
  };

  test("newest first, without those that are being made", async () => {
    expect(await list({})).toEqual(["cb", "cc", "ca"]);
  });

  test("by id, state, sandbox and labels", async () => {
    expect(await list({ id: "ca" })).toEqual(["ca"]);
    expect(await list({ state: { state: ContainerState.CONTAINER_RUNNING } })).toEqual(["ca"]);
    expect(await list({ state: { state: ContainerState.CONTAINER_CREATED } })).toEqual(["cb"]);
    expect(await list({ podSandboxId: "aa" })).toEqual(["cb", "ca"]);
    expect(await list({ podSandboxId: "ff" })).toEqual([]);
    expect(await list({ podSandboxId: "ab", id: "ca" })).toEqual([]);
    expect(await list({ labelSelector: { app: "cc" } })).toEqual(["cc"]);
  });

  test("in a stream that ends without a message when nothing is found", async () => {
    let replies = 0;
    for await (const _ of clients().cri.streamContainers({ filter: { id: "ff" } })) replies++;
    expect(replies).toBe(0);
    for await (const _ of clients().cri.streamContainers({})) replies++;
    expect(replies).toBe(1);
  });
});

describe("the status", () => {
  test("of a sandbox comes with those of its containers and the time", async () => {
    const reply = await clients().cri.podSandboxStatus({ podSandboxId: "aa" });
    expect(reply.status).toMatchObject({ id: id("aa"), createdAt: 999n, labels: { tier: "web" } });
    expect(reply.containersStatuses.map((item) => item.id.slice(0, 2)).sort()).toEqual(["ca", "cb"]);
    expect(reply.timestamp).toBeGreaterThan(1_600_000_000_000_000_000n);
    expect(reply.info).toEqual({});
  });

  test("comes with one JSON object when it is verbose", async () => {
    const { cri } = clients();
    const ofSandbox = await cri.podSandboxStatus({ podSandboxId: "aa", verbose: true });
    expect(Object.keys(ofSandbox.info)).toEqual(["info"]);
    expect(JSON.parse(ofSandbox.info["info"]!)).toHaveProperty("pid", 0);
    const ofContainer = await cri.containerStatus({ containerId: "ca", verbose: true });
    expect(JSON.parse(ofContainer.info["info"]!)).toHaveProperty("sandboxID", id("aa"));
  });

  test("of what does not exist is NotFound, of no id InvalidArgument", async () => {
    const { cri } = clients();
    expect((await failure(cri.podSandboxStatus({ podSandboxId: "ff" }))).code).toBe(Code.NotFound);
    expect((await failure(cri.containerStatus({ containerId: id("ff") }))).code).toBe(Code.NotFound);
    expect((await failure(cri.containerStatus({ containerId: "cd" }))).code).toBe(Code.NotFound);
    expect((await failure(cri.podSandboxStatus({}))).code).toBe(Code.InvalidArgument);
  });
});

describe("what does not exist", () => {
  const names = ["ff", id("ff"), "0".repeat(64), "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "../x"];

  test("is stopped and removed with success", async () => {
    const { cri, images } = clients();
    for (const name of names) {
      await cri.stopPodSandbox({ podSandboxId: name });
      await cri.removePodSandbox({ podSandboxId: name });
      await cri.stopContainer({ containerId: name, timeout: 5n });
      await cri.removeContainer({ containerId: name });
      await images.removeImage({ image: { image: name } });
    }
  });

  test("is not found by what needs it", async () => {
    const { cri } = clients();
    for (const name of names) {
      const config = { metadata: { name: "a" }, image: { image: "x" } };
      const calls = [
        cri.createContainer({ podSandboxId: name, config }),
        cri.startContainer({ containerId: name }),
        cri.execSync({ containerId: name, cmd: ["true"] }),
        cri.reopenContainerLog({ containerId: name }),
      ];
      for (const call of calls) expect((await failure(call)).code).toBe(Code.NotFound);
    }
  });
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

  test("show their configuration and chain id when asked to be verbose", async () => {
    const name = { image: { image: `sha256:${id("nginx")}` } };
    expect((await clients().images.imageStatus(name)).info).toEqual({});
    const { info } = await clients().images.imageStatus({ ...name, verbose: true });
    expect(JSON.parse(info["info"]!)).toEqual({
      chainID: "sha256:top",
      imageSpec: { config: { User: "1002:5" } },
    });
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

/** Calls that later versions serve; taking one off this list is part of serving it. */
const UNSUPPORTED = [
  "UpdateContainerResources",
  "Exec",
  "Attach",
  "PortForward",
  "ContainerStats",
  "ListContainerStats",
  "StreamContainerStats",
  "PodSandboxStats",
  "ListPodSandboxStats",
  "StreamPodSandboxStats",
  "UpdateRuntimeConfig",
  "CheckpointContainer",
  "CheckpointPod",
  "RestorePod",
  "GetContainerEvents",
  "ListMetricDescriptors",
  "ListPodSandboxMetrics",
  "StreamPodSandboxMetrics",
  "UpdatePodSandboxResources",
];

describe("a call that is not supported", () => {
  for (const method of RuntimeService.methods.filter(({ name }) => UNSUPPORTED.includes(name))) {
    test(`as ${method.name} says so by name`, async () => {
      const error = await failure(answer(method, {}));
      expect(error.code).toBe(Code.Unimplemented);
      expect(error.rawMessage).toBe(`${method.name} is not supported by this version of podrt`);
    });
  }
});

type Method = (typeof RuntimeService | typeof ImageService)["methods"][number];

/** Calls any method with any message and reads the whole answer. */
async function answer(method: Method, message: object, runtime = newRuntime().runtime): Promise<void> {
  const { transport } = clients(runtime);
  if (method.methodKind === "unary") {
    await transport.unary(method as never, undefined, undefined, undefined, message as never);
    return;
  }
  const input = (async function* () {
    yield message as never;
  })();
  const reply = await transport.stream(method as never, undefined, undefined, undefined, input);
  for await (const _ of reply.message);
}

describe("any request gets an answer or a clean error", () => {
  const dirty = [Code.Internal, Code.DataLoss, Code.Aborted, Code.Unavailable];
  for (const method of [...RuntimeService.methods, ...ImageService.methods]) {
    test(`from ${method.name}`, async () => {
      await fc.assert(
        fc.asyncProperty(messageOfType(method.input), async (message) => {
          // Nothing here has a kernel: no sandbox can be made, and only what reads finds objects.
          fc.pre(method.name !== "RunPodSandbox" || !isAccepted(method, message));
          const { runtime } = newRuntime();
          const empty = {
            ...runtime,
            sandboxes: table(new Map()),
            containers: table(new Map()),
          } as unknown as Runtime;
          try {
            await answer(method, message, /^(List|Stream)|Status$/.test(method.name) ? runtime : empty);
          } catch (error) {
            const { code, rawMessage } = ConnectError.from(error);
            expect(dirty).not.toContain(code);
            expect(rawMessage).not.toBe("");
          }
        }),
        { numRuns: 100 },
      );
    });
  }
});

function isAccepted(method: Method, message: Parameters<typeof validateRequest>[1]): boolean {
  try {
    toBinary(method.input, message as never);
    validateRequest(method.input, message);
    return true;
  } catch {
    return false;
  }
}
