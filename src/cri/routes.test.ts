// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { clients, failure, id, newRuntime } from "../../test/fixtures/cri-clients.ts";
import { ContainerState, PodSandboxState } from "../gen/runtime/v1/api_pb.ts";
import { logger } from "../lib/logger.ts";

const { level } = logger;

beforeAll(() => {
  logger.level = "silent";
});

afterAll(() => {
  logger.level = level;
});

describe("the runtime tells", () => {
  test("its version in all four fields", async () => {
    const version = await clients().cri.version({});
    expect(version).toMatchObject({ version: "0.1.0", runtimeName: "podrt", runtimeApiVersion: "v1" });
    expect(version.runtimeVersion).toMatch(/^\d+\.\d+\.\d+/);
  });

  test("its cgroup driver, which is not the zero value", async () => {
    expect((await clients().cri.runtimeConfig({})).linux?.cgroupDriver).toBe(1);
  });

  test("that systemd makes the cgroups where it is so configured, and whether that answers", async () => {
    const { runtime } = newRuntime();
    let problem: string | undefined;
    const configured = {
      ...runtime,
      config: { ...runtime.config, cgroup: { driver: "systemd" } },
      systemd: { problem: async () => problem },
    } as unknown as typeof runtime;
    const { cri } = clients(configured);
    expect((await cri.runtimeConfig({})).linux?.cgroupDriver).toBe(0);
    const conditions = async () => (await cri.status({})).status?.conditions ?? [];
    expect((await conditions()).at(-1)).toMatchObject({ type: "SystemdReady", status: true });
    problem = "systemd does not answer";
    expect((await conditions()).at(-1)).toMatchObject({
      type: "SystemdReady",
      status: false,
      reason: "SystemdNotAnswering",
      message: "pods cannot be made: systemd does not answer",
    });
    // The pods that run go on, and a kubelet must not think otherwise.
    expect((await conditions())[0]).toMatchObject({ type: "RuntimeReady", status: true });
  });

  test("that it and the network are ready, its state is intact, and its handler under both names", async () => {
    const status = await clients().cri.status({});
    expect(status.status?.conditions.map(({ type, status: ready }) => [type, ready])).toEqual([
      ["RuntimeReady", true],
      ["NetworkReady", true],
      ["StateIntact", true],
    ]);
    expect(status.runtimeHandlers.map(({ name }) => name)).toEqual(["", "podrt"]);
    expect(status.features?.supplementalGroupsPolicy).toBe(true);
    expect(status.info).toEqual({});
  });

  test("that pods can have user namespaces, or why not", async () => {
    const told = async (runtime: ReturnType<typeof newRuntime>["runtime"]) => {
      const { runtimeHandlers, features, info } = await clients(runtime).cri.status({ verbose: true });
      const ofHandlers = runtimeHandlers.map((handler) => handler.features?.userNamespaces);
      return [ofHandlers, features?.userNamespacesHostNetwork, JSON.parse(info["config"]!).userNamespaces];
    };
    const reason = "cannot make a user namespace";
    for (const support of [
      { supported: true, attachAt: undefined } as const,
      { supported: false, reason } as const,
    ]) {
      const { supported } = support;
      const expected = [[supported, supported], supported, JSON.parse(JSON.stringify(support))];
      expect(await told(newRuntime(undefined, support).runtime)).toEqual(expected);
    }
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

describe("statistics", () => {
  const shortIds = (found: readonly { attributes?: { id: string } | undefined }[]) =>
    found.map(({ attributes }) => attributes?.id.slice(0, 2));

  test("of containers are listed in every state, newest first", async () => {
    const { stats } = await clients().cri.listContainerStats({});
    expect(shortIds(stats)).toEqual(["cb", "cc", "ca"]);
    expect(stats[0]).toMatchObject({
      attributes: { metadata: { name: "app-cb" }, labels: { app: "cb" } },
      writableLayer: { fsId: { mountpoint: "/var/lib/podrt" }, usedBytes: { value: 4096n } },
    });
    expect(stats.filter(({ cpu, memory }) => cpu !== undefined || memory !== undefined)).toEqual([]);
  });

  test("of containers are selected by id, sandbox and labels, all of which must match", async () => {
    const list = async (filter: object) => {
      const { cri } = clients();
      const streamed: string[] = [];
      for await (const reply of cri.streamContainerStats({ filter })) {
        streamed.push(...(shortIds(reply.containerStats) as string[]));
      }
      const { stats } = await cri.listContainerStats({ filter });
      expect(shortIds(stats)).toEqual(streamed);
      return streamed;
    };
    expect(await list({})).toEqual(["cb", "cc", "ca"]);
    expect(await list({ id: "ca" })).toEqual(["ca"]);
    expect(await list({ id: "ff" })).toEqual([]);
    expect(await list({ podSandboxId: "aa" })).toEqual(["cb", "ca"]);
    expect(await list({ podSandboxId: "ff" })).toEqual([]);
    expect(await list({ labelSelector: { app: "cc" } })).toEqual(["cc"]);
    expect(await list({ podSandboxId: "aa", labelSelector: { app: "cc" } })).toEqual([]);
    const error = await failure(clients().cri.listContainerStats({ filter: { id: "c" } }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toStartWith("filter.id: ");
  });

  test("of sandboxes leave out what is not ready, and what has just ended", async () => {
    const { cri } = clients();
    // Neither has a pause that runs: both are as if they ended right now.
    expect((await cri.listPodSandboxStats({})).stats).toEqual([]);
    expect((await cri.listPodSandboxMetrics({})).podMetrics).toEqual([]);
    let replies = 0;
    for await (const _ of cri.streamPodSandboxStats({})) replies++;
    for await (const _ of cri.streamPodSandboxMetrics({})) replies++;
    for await (const _ of cri.streamContainerStats({ filter: { id: "ff" } })) replies++;
    expect(replies).toBe(0);
    expect((await failure(cri.podSandboxStats({ podSandboxId: "ac" }))).code).toBe(Code.FailedPrecondition);
  });

  test("of what does not exist are NotFound, of no id InvalidArgument", async () => {
    const { cri } = clients();
    expect((await failure(cri.containerStats({ containerId: id("ff") }))).code).toBe(Code.NotFound);
    expect((await failure(cri.containerStats({ containerId: "cd" }))).code).toBe(Code.NotFound);
    expect((await failure(cri.podSandboxStats({ podSandboxId: "ff" }))).code).toBe(Code.NotFound);
    // The kubelet asks so to find out whether there are such statistics: anything but Unimplemented says yes.
    expect((await failure(cri.podSandboxStats({}))).code).toBe(Code.InvalidArgument);
    expect((await failure(cri.containerStats({}))).code).toBe(Code.InvalidArgument);
  });

  test("as metrics are described at once and always alike", async () => {
    const { cri } = clients();
    const { descriptors } = await cri.listMetricDescriptors({});
    expect(descriptors.length).toBeGreaterThan(10);
    expect((await cri.listMetricDescriptors({})).descriptors).toEqual(descriptors);
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
        cri.updateContainerResources({ containerId: name, linux: { cpuShares: 5n } }),
        cri.updatePodSandboxResources({ podSandboxId: name, resources: { cpuShares: 5n } }),
      ];
      for (const call of calls) expect((await failure(call)).code).toBe(Code.NotFound);
    }
  });
});
