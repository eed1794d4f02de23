// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf, runCommand } from "./harness/command.ts";
import { startDaemon } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { demoPod, runDetached, runningPod, sharedNamespaceDemo } from "./harness/manifests.ts";
import { busybox, createContainer, nginx, runContainer, runSandbox } from "./harness/pods.ts";

const fixture = useDaemon();

test("while pods run, the checker finds their processes, mounts, links, cgroups and files", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, demoPod);
  await runningPod(daemon, "demo-pod");
  const kinds = new Set((await daemon.leftovers()).map((line) => line.split(" ")[0]));
  for (const kind of ["process", "mount", "link", "route", "nftables", "cgroup", "file"])
    expect(kinds).toContain(kind);
});

test("after stopp and rmp of everything, nothing is left beyond images", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, sharedNamespaceDemo);
  await runningPod(daemon, "shared-namespace-demo");
  const byHand = await runSandbox(daemon, "by-hand");
  await runContainer(daemon, byHand, { name: "running" });
  await createContainer(daemon, byHand, { name: "created" });
  await runContainer(daemon, byHand, { name: "web", image: { image: nginx }, command: [] });
  await runContainer(daemon, byHand, { name: "volumes", image: { image: "registry.k8s.io/podrt/volumes" } });

  await daemon.removeEverything();

  expect(await daemon.leftovers()).toEqual([]);
  expect((await daemon.api.listContainers({})).containers).toEqual([]);
  expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
  const { images } = await daemon.api.listImages({});
  expect(images.flatMap(({ repoTags }) => repoTags)).toContain(busybox);
});

test("what could not be started leaves nothing either", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "failing");
  const bad = runContainer(daemon, sandboxId, { name: "bad", command: ["/no/such/program"] });
  expect(bad).rejects.toThrow(/no such|not found|ENOENT/i);
  await bad.catch(() => {});
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  const unknownHandler = daemon.api.runPodSandbox({
    config: { metadata: { name: "x", namespace: "default", uid: "x" } },
    runtimeHandler: "unheard-of",
  });
  expect(unknownHandler).rejects.toThrow(/unheard-of/);
  await unknownHandler.catch(() => {});
  expect(await daemon.leftovers()).toEqual([]);
});

test("a pod whose network cannot be made leaves nothing, and the network is not ready until that changes", async () => {
  const { daemon, registry } = fixture;
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  const dummy = `du${instanceOf(root)}`;
  await outputOf("ip", ["link", "add", dummy, "type", "bridge"]);
  const other = await startDaemon({ mirror: registry.host, root });
  try {
    const subnet = /subnet = "([^"]+)"/.exec(readFileSync(join(root, "config.toml"), "utf8"))![1]!;
    await outputOf("ip", ["addr", "add", subnet.replace(".0/20", ".9/24"), "dev", dummy]);
    const failing = runSandbox(other, "no-network");
    expect(failing).rejects.toThrow(/failed_precondition.*network\.subnet.*overlaps/);
    await failing.catch(() => {});
    expect((await other.api.listPodSandbox({})).items).toEqual([]);
    expect(await other.leftovers()).toEqual([]);
    const { status } = await other.api.status({});
    const network = status!.conditions.find(({ type }) => type === "NetworkReady")!;
    expect(network).toMatchObject({ status: false, reason: "NetworkPluginNotReady" });
    await outputOf("ip", ["link", "delete", dummy]);
    await runSandbox(other, "no-network");
  } finally {
    await runCommand("ip", ["link", "delete", dummy]);
    await other.close();
  }
  expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
});

test("a hundred pods come and go one after another", async () => {
  const { daemon } = fixture;
  const addresses = new Set<string>();
  for (let round = 0; round < 100; round += 1) {
    const podSandboxId = await runSandbox(daemon, `pod-${round}`);
    addresses.add((await daemon.api.podSandboxStatus({ podSandboxId })).status!.network!.ip);
    await runContainer(daemon, podSandboxId, { name: "app" });
    await daemon.api.stopPodSandbox({ podSandboxId });
    await daemon.api.removePodSandbox({ podSandboxId });
  }
  expect(addresses.size).toBeGreaterThan(1);
  expect(await daemon.leftovers()).toEqual([]);
}, 120_000);

test("pods at once have addresses of their own, and two instances do not meet", async () => {
  const { daemon, registry } = fixture;
  const other = await startDaemon({ mirror: registry.host });
  try {
    const names = Array.from({ length: 10 }, (_, index) => `many-${index}`);
    const ids = await Promise.all(
      [daemon, other].flatMap((one) => names.map(async (name) => ({ one, id: await runSandbox(one, name) }))),
    );
    const ips = await Promise.all(
      ids.map(
        async ({ one, id }) => (await one.api.podSandboxStatus({ podSandboxId: id })).status!.network!.ip,
      ),
    );
    expect(new Set(ips).size).toBe(20);
    await other.removeEverything();
    const left = (await daemon.api.listPodSandbox({})).items.filter(({ metadata }) =>
      metadata?.name.startsWith("many-"),
    );
    expect(left).toHaveLength(10);
  } finally {
    await daemon.removeEverything();
    await other.close();
    rmSync(other.root, { recursive: true, force: true });
  }
}, 120_000);
