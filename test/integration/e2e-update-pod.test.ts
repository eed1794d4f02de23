// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { dirname } from "node:path";
import { openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { weightOfShares } from "../../src/linux/cgroup/cpu.ts";
import { detectCgroups } from "../../src/linux/cgroup/host.ts";
import type { Daemon } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { cgroupOf, limitsIn } from "./harness/limits.ts";
import { containerOf, keptPod } from "./harness/manifests.ts";
import { containerPid, pausePid, runSandbox, sandboxInfo } from "./harness/pods.ts";

const MiB = 1024 * 1024;
const fixture = useDaemon();

describe("a pod", () => {
  /** Limits of the cgroup above the pause's. */
  async function podLimits(daemon: Daemon, pod: string) {
    const pid = await pausePid(daemon, pod);
    return limitsIn((controller) => dirname(cgroupOf(pid, controller)));
  }

  const resources = { cpuQuota: 80_000n, cpuPeriod: 100_000n, memoryLimitInBytes: BigInt(128 * MiB) };
  const overhead = { cpuQuota: 10_000n, memoryLimitInBytes: BigInt(8 * MiB) };

  test("in a cgroup of podrt's gets the sum of its resources and overhead, and keeps both", async () => {
    const { daemon } = fixture;
    const podSandboxId = await runSandbox(daemon, "pod-limits");
    expect(await podLimits(daemon, podSandboxId)).toMatchObject({ quota: -1, memory: -1 });
    await daemon.api.updatePodSandboxResources({ podSandboxId, resources, overhead });
    await daemon.api.updatePodSandboxResources({ podSandboxId, resources, overhead });
    const limits = { quota: 90_000, period: 100_000, memory: 136 * MiB, total: 136 * MiB };
    expect(await podLimits(daemon, podSandboxId)).toMatchObject(limits);
    await daemon.api.updatePodSandboxResources({ podSandboxId, resources: { cpuQuota: 40_000n } });
    expect(await podLimits(daemon, podSandboxId)).toMatchObject({ ...limits, quota: 50_000 });
    await daemon.kill();
    await daemon.start();
    expect(await sandboxInfo(daemon, podSandboxId)).toMatchObject({
      resources: { cpuQuota: "40000", memoryLimitInBytes: String(128 * MiB) },
      overhead: { cpuQuota: "10000", memoryLimitInBytes: String(8 * MiB) },
    });
    expect(await podLimits(daemon, podSandboxId)).toMatchObject({ ...limits, quota: 50_000 });
    await daemon.api.stopPodSandbox({ podSandboxId });
    await daemon.api.updatePodSandboxResources({ podSandboxId, resources });
    expect(await sandboxInfo(daemon, podSandboxId)).toMatchObject({ resources: { cpuQuota: "80000" } });
    await daemon.api.removePodSandbox({ podSandboxId });
  });

  test("in a cgroup of podrt's has its limits from the start", async () => {
    const { daemon } = fixture;
    const linux = { resources, overhead } as object;
    const podSandboxId = await runSandbox(daemon, "limited", { linux });
    const limits = { quota: 90_000, period: 100_000, memory: 136 * MiB, total: 136 * MiB };
    expect(await podLimits(daemon, podSandboxId)).toMatchObject(limits);
    await daemon.api.removePodSandbox({ podSandboxId });
  });

  test("of a manifest has the resources of its own, and its containers are told of them", async () => {
    const { daemon } = fixture;
    const manifest = `apiVersion: v1
kind: Pod
metadata: {name: whole}
spec:
  terminationGracePeriodSeconds: 0
  resources: {limits: {cpu: 800m, memory: 128Mi}, requests: {cpu: 500m}}
  containers:
  - name: open
    image: busybox
    command: [sleep, "1000"]
    env: [{name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]
  - {name: narrow, image: busybox, command: [sleep, "1000"], resources: {limits: {memory: 64Mi}}}
`;
    const ran = await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "--wait", "60", "-");
    expect(ran).toMatchObject({ code: 0 });
    const pod = await keptPod(daemon, "whole");
    const whole = { quota: 80_000, period: 100_000, memory: 128 * MiB, total: 128 * MiB };
    expect(await podLimits(daemon, pod.sandboxId)).toMatchObject({ ...whole, weight: weightOfShares(512) });
    const limitsOf = async (name: string) => {
      const pid = await containerPid(daemon, containerOf(pod, name).containerId);
      return limitsIn((controller) => cgroupOf(pid, controller));
    };
    expect(await limitsOf("open")).toMatchObject(whole);
    expect(await limitsOf("narrow")).toMatchObject({ ...whole, memory: 64 * MiB, total: 64 * MiB });
    const told = await daemon.podrt("exec", "whole/open", "--", "sh", "-c", "echo $MEMORY");
    expect(told.stdout).toBe("128\n");
    const explained = await daemon.podrtWith({ stdin: manifest }, "explain", "--offline", "-");
    const head = /^ {4}cgroup of the pod \S+$((?:\n {6}\S.*)+)/m.exec(explained.stdout)?.[1];
    expect(head).toContain(` = ${128 * MiB}`);
    expect((await daemon.podrt("rm", "-f", "whole")).code).toBe(0);
  });

  test("is not made with a memory limit that its pause has no room in", async () => {
    const { daemon } = fixture;
    const linux = { resources: { memoryLimitInBytes: 4096n } } as object;
    await expect(runSandbox(daemon, "narrow", { linux })).rejects.toThrow(
      /failed_precondition.*memory limit of pod default\/narrow to 4096 bytes/,
    );
  });

  test("in a cgroup that the caller named leaves that to the caller", async () => {
    const { daemon } = fixture;
    const parent = `/podrt-update-test-${process.pid}`;
    const podSandboxId = await runSandbox(daemon, "named-parent", {
      linux: { cgroupParent: parent, resources, overhead } as object,
    });
    try {
      expect(await podLimits(daemon, podSandboxId)).toMatchObject({ quota: -1, memory: -1 });
      await daemon.api.updatePodSandboxResources({ podSandboxId, resources, overhead });
      expect(await podLimits(daemon, podSandboxId)).toMatchObject({ quota: -1, memory: -1 });
      expect(await sandboxInfo(daemon, podSandboxId)).toMatchObject({ resources: { cpuQuota: "80000" } });
    } finally {
      await daemon.api.removePodSandbox({ podSandboxId });
      await openCgroup(detectCgroups(), parent).remove();
    }
  });
});

test("the subnet of the cluster is not taken where one is configured, and is no error, however often it comes", async () => {
  const { daemon } = fixture;
  const networkConfig = { podCidr: "10.244.7.0/24,fd00:10:244:7::/64" };
  for (const runtimeConfig of [
    { networkConfig },
    { networkConfig },
    { networkConfig: { podCidr: "" } },
    {},
  ]) {
    await daemon.api.updateRuntimeConfig({ runtimeConfig });
  }
  expect(daemon.log()).toContain("network.subnet is configured");
  const podSandboxId = await runSandbox(daemon, "subnet");
  const { status } = await daemon.api.podSandboxStatus({ podSandboxId });
  expect(status?.network?.ip).not.toStartWith("10.244.7.");
  await daemon.api.removePodSandbox({ podSandboxId });
});
