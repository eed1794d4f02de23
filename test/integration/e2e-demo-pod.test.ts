// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Pod } from "../../src/gen/podrt/v1/podrt_pb.ts";
import { patience } from "../support/patience.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { containerOf, demoPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";
import { containerStatus, exited, nginx, runContainer, shellIn } from "./harness/pods.ts";

const fixture = useDaemon();
let pod: Pod;
let app1: string;
let app2: string;

beforeAll(async () => {
  await runDetached(fixture.daemon, demoPod);
  pod = await runningPod(fixture.daemon, "demo-pod");
  app1 = containerOf(pod, "app1").containerId;
  app2 = containerOf(pod, "app2").containerId;
  await pageOf(pod);
});

test("both containers see the same interfaces and the same address", async () => {
  const [first, second] = await Promise.all([app1, app2].map((id) => shellIn(fixture.daemon, id, "ip addr")));
  expect(first).toBe(second);
  expect(first).toContain(`inet ${pod.addresses[0]}/`);
  expect(first).toMatch(/lo: <LOOPBACK,UP,LOWER_UP>/);
});

test("app2 reaches nginx over localhost", async () => {
  const page = await shellIn(fixture.daemon, app2, "wget -qO- http://localhost:80");
  expect(page).toContain("Welcome to nginx!");
});

test("the host reaches nginx at the pod's address", async () => {
  expect(await pageOf(pod)).toContain("Welcome to nginx!");
});

test("the pod reaches the host at the bridge's address, and its default route leads there", async () => {
  const bridge = `prt${instanceOf(fixture.daemon.root)}`;
  const [link] = JSON.parse(await outputOf("ip", ["-j", "addr", "show", bridge])) as [
    { addr_info: { family: string; local: string }[] },
  ];
  const address = link.addr_info.find(({ family }) => family === "inet")!.local;
  using server = Bun.serve({ hostname: address, port: 0, fetch: () => new Response("from the host") });
  const page = await shellIn(fixture.daemon, app2, `wget -qO- http://${address}:${server.port}/`);
  expect(page).toBe("from the host");
  expect(await shellIn(fixture.daemon, app2, "ip route")).toContain(`default via ${address}`);
});

test("a second container that binds port 80 fails with Address already in use", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, pod.sandboxId, {
    name: "second",
    image: { image: nginx },
    command: ["nginx", "-g", "daemon off;"],
    logPath: "second.log",
  });
  const status = await exited(daemon, id);
  expect(status.exitCode).toBe(1);
  expect(readFileSync(status.logPath, "utf8")).toContain("Address already in use");
  await daemon.api.removeContainer({ containerId: id });
});

test("the pod's name is its host name, and its files say so", async () => {
  expect(await shellIn(fixture.daemon, app1, "hostname")).toBe("demo-pod");
  const hosts = await shellIn(fixture.daemon, app2, "cat /etc/hosts");
  expect(hosts).toMatch(new RegExp(`${pod.addresses[0]}\\s+demo-pod`));
  expect(await shellIn(fixture.daemon, app1, "hostname")).toBe(
    await shellIn(fixture.daemon, app2, "hostname"),
  );
});

test("podrt pods and podrt ps show the pod, its containers and, with -a, its pause", async () => {
  const pods = (await fixture.daemon.podrt("pods")).stdout;
  expect(pods).toMatch(new RegExp(`demo-pod.*${pod.addresses[0]}`));
  const containers = (await fixture.daemon.podrt("ps")).stdout;
  expect(containers).toMatch(/\bapp1\b[\s\S]*\bapp2\b|\bapp2\b[\s\S]*\bapp1\b/);
  expect(containers).not.toContain("POD-demo-pod");
  expect((await fixture.daemon.podrt("ps", "-a")).stdout).toContain("POD-demo-pod");
});

test(
  "podrt stop ends the pod and leaves it listed, podrt rm removes it",
  async () => {
    const { daemon } = fixture;
    expect((await daemon.podrt("stop", "--time", "1", "demo-pod")).code).toBe(0);
    expect((await daemon.podrt("pods")).stdout).toMatch(/demo-pod.*Stopped/i);
    expect((await containerStatus(daemon, app1)).exitCode).toBe(0);
    expect((await daemon.podrt("rm", "demo-pod")).code).toBe(0);
    expect((await daemon.podrt("pods")).stdout).not.toContain("demo-pod");
    expect(await daemon.leftovers()).toEqual([]);
  },
  60_000 * patience,
);
