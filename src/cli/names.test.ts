// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { NotFoundError } from "../errors.ts";
import { ContainerState } from "../gen/runtime/v1/api_pb.ts";
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { id, populate, statuses } from "./fake-pods.ts";

const services = {
  runtime: statuses,
  images: {
    imageStatus: () => ({}),
    listImages: () => ({
      images: [{ id: `sha256:${id("1")}`, repoTags: ["docker.io/library/nginx:latest"], size: 5n }],
    }),
  },
  pods: {
    listVolumes: () => ({ volumes: [{ namespace: "default", name: "data" }] }),
    removeVolume: () => {
      throw new NotFoundError("there is no such volume");
    },
  },
};

describe("a name that is not there", () => {
  test.each([
    [["stop", "demmo"], "there is no pod demmo; did you mean demo?"],
    [["rm", "kube-system/othr"], "there is no pod kube-system/othr; did you mean kube-system/other?"],
    [["stop", "frobnicate"], "there is no pod frobnicate; `podrt pods` lists them"],
    [["stop", "x"], "there is no pod x; `podrt pods` lists them"],
    [["exec", "ap1", "ls"], "there is no container ap1; did you mean app1?"],
    [["attach", "demo/ap1"], "there is no container demo/ap1; did you mean demo/app1?"],
    [["exec", "none", "ls"], "there is no container none; `podrt ps -a` lists them"],
    [["logs", "dmeo"], "there is no pod or container dmeo; did you mean demo?"],
    [["wait", "demo/ap1"], "there is no pod or container demo/ap1; did you mean demo/app1?"],
    [["why", "dmeo"], "there is no pod or container dmeo; did you mean demo?"],
    [["policy", "etdc"], "there is no pod or container etdc; did you mean etcd?"],
    [["run", "--pod", "demp", "nginx"], "there is no pod or container demp; did you mean demo?"],
    [["inspect", "ngnix"], "there is no pod, container or image ngnix; did you mean nginx?"],
    [
      ["inspect", "frobnicate"],
      "there is no pod, container or image frobnicate; `podrt ps -a` and `podrt images` list them",
    ],
    [["volume", "rm", "dtaa"], "there is no volume dtaa; did you mean data?"],
    [["volume", "rm", "shop/cache"], "there is no volume shop/cache; `podrt volume ls` lists them"],
  ])("%p", async (argv, message) => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    expect(await runCommand(daemon.socketPath, argv)).toEqual({
      exitCode: 1,
      out: "",
      err: `podrt: ${message}\n`,
    });
  });
});

describe("a pod in the place of a container", () => {
  async function attach(...digits: string[]) {
    const attached: string[] = [];
    await using daemon = await startFakeDaemon({
      runtime: {
        containerStatus: ({ containerId }) => {
          attached.push(containerId);
          return { info: { info: "{}" } };
        },
      },
      pods: {
        async *attach() {
          yield { message: { case: "exitCode" as const, value: 0 } };
        },
      },
    });
    populate(daemon);
    const [app] = daemon.containers;
    daemon.containers = digits.map((digit) => ({
      ...app!,
      id: id(digit),
      metadata: { name: `app${digit}`, attempt: 0 },
      state: digit < "5" ? ContainerState.CONTAINER_RUNNING : ContainerState.CONTAINER_EXITED,
    }));
    return { ...(await runCommand(daemon.socketPath, ["attach", "demo"])), attached };
  }

  test("is its container where it has but one, or but one that runs", async () => {
    expect(await attach("2")).toMatchObject({ exitCode: 0, attached: [id("2")] });
    expect((await attach("7")).err).toStartWith("podrt: container demo/app7 has ended; ");
    expect(await attach("7", "3", "8")).toMatchObject({ exitCode: 0, attached: [id("3")] });
  });

  test("is none where that could be several, or there is none yet", async () => {
    expect((await attach("1", "2", "7")).err).toBe(
      "podrt: pod demo has several containers; say which: demo/app1, demo/app2\n",
    );
    expect((await attach()).err).toBe("podrt: pod demo has no container yet; ask `podrt why demo`\n");
  });
});

describe("the beginning of an id", () => {
  test.each([
    [["stop", "ccc"], "kube-system/other"],
    [["stop", id("a")], "demo"],
  ])("is enough: %p", async (argv, name) => {
    await using daemon = await startFakeDaemon({
      runtime: { stopContainer: () => ({}), stopPodSandbox: () => ({}) },
      pods: { stopPod: () => ({}) },
    });
    populate(daemon);
    expect((await runCommand(daemon.socketPath, argv)).out).toBe(`${name}\n`);
  });

  test("that could be several is refused with all of them", async () => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    daemon.sandboxes.push({
      ...daemon.sandboxes[1]!,
      id: `cc${"9".repeat(62)}`,
      metadata: { name: "third", namespace: "default", uid: "u3" },
    });
    expect((await runCommand(daemon.socketPath, ["stop", "cc"])).err).toBe(
      "podrt: cc could be kube-system/other (ccccccccccccc), default/third (cc99999999999)\n",
    );
  });
});
