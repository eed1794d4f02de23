// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { outputOf } from "../integration/harness/command.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { hasEventedPleg, nodeCondition, nodeName } from "./cluster.ts";
import { container, containerWhich, node, patientMs, phase, ready, remove, useNode } from "./fixture.ts";
import { podOf, shell } from "./manifest.ts";
import { hasImage, processesOfPods, runningPods } from "./runtime.ts";

useNode();

test("the node says which runtime it has, and what that can do", async () => {
  const described = JSON.parse(await node.cluster.kubectl("get", "node", nodeName, "-o", "json"));
  expect(described.status.nodeInfo.containerRuntimeVersion).toStartWith(`${node.runtime.name}://`);
  expect(described.status.features.supplementalGroupsPolicy).toBe(true);
  expect(described.status.runtimeHandlers).toContainEqual({
    name: "",
    features: { recursiveReadOnlyMounts: true, userNamespaces: true },
  });
});

test.if(hasEventedPleg)("the kubelet hears of containers by the runtime's events", async () => {
  const metrics = await node.cluster.kubectl("get", "--raw", `/api/v1/nodes/${nodeName}/proxy/metrics`);
  expect(metrics).toMatch(/^kubelet_evented_pleg_connection_success_count [1-9]/m);
  expect(metrics).not.toMatch(/^kubelet_evented_pleg_connection_error_count [1-9]/m);
});

test("a manifest in the node's directory is a pod, and goes with it", async () => {
  const file = join(node.cluster.manifestsDir, "static.json");
  writeFileSync(file, JSON.stringify(podOf("static", { containers: [shell("app", "sleep 3600")] })));
  await eventually("the static pod runs", () => ready(`static-${nodeName}`).then(() => true), patientMs);
  rmSync(file);
  await eventually(
    "the static pod is gone",
    async () => (await runningPods(node.runtime)).length === 0,
    patientMs,
  );
});

test("logs are rotated, and followed across it", async () => {
  await node.cluster.apply(
    podOf("talking", {
      containers: [
        shell(
          "app",
          "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo line $i of many, which fill the log bit by bit; [ $((i % 400)) = 0 ] && sleep 1; done; sleep 3600",
        ),
      ],
    }),
  );
  await ready("talking");
  const { uid } = (await node.cluster.pod("talking")).metadata;
  const dir = join(node.cluster.podLogsDir, `default_talking_${uid}`, "app");
  await eventually("the log was rotated", () => readdirSync(dir).length > 1, patientMs);
  await eventually(
    "the last line is in the log",
    async () => (await node.cluster.kubectl("logs", "talking", "--tail=1")).startsWith("line 6000 "),
    patientMs,
  );
  const lines = readdirSync(dir)
    .filter((name) => !name.endsWith(".gz"))
    .flatMap((name) => readFileSync(join(dir, name), "utf8").trimEnd().split("\n"))
    .map((line) => Number(/line (\d+) of/.exec(line)?.[1]))
    .sort((a, b) => a - b);
  expect(lines).toEqual(Array.from({ length: lines.length }, (_, index) => 6001 - lines.length + index));
  await remove("talking");
});

test("statistics and metrics are those of the runtime", async () => {
  await node.cluster.apply(
    podOf("measured", {
      containers: [shell("app", "while :; do :; done", { resources: { limits: { cpu: "100m" } } })],
    }),
  );
  await ready("measured");
  const { machine, pod } = await eventually(
    "the summary has the pod with its rate",
    async () => {
      const { node: machine, pods } = JSON.parse(
        await node.cluster.kubectl("get", "--raw", `/api/v1/nodes/${nodeName}/proxy/stats/summary`),
      );
      const pod = pods.find(({ podRef }: { podRef: { name: string } }) => podRef.name === "measured");
      return pod?.containers?.[0]?.cpu?.usageNanoCores > 0 ? { machine, pod } : undefined;
    },
    patientMs,
  );
  expect(pod.containers[0].memory.workingSetBytes).toBeGreaterThan(0);
  expect(pod.containers[0].rootfs.usedBytes).toBeGreaterThanOrEqual(0);
  expect(pod.network.name).toBe("eth0");
  // By these the kubelet evicts.
  expect(machine.memory.availableBytes).toBeGreaterThan(0);
  for (const fs of [machine.fs, machine.runtime.imageFs, machine.runtime.containerFs]) {
    expect(fs.availableBytes).toBeGreaterThan(0);
    expect(fs.capacityBytes).toBeGreaterThan(fs.availableBytes);
    expect(fs.inodesFree).toBeGreaterThan(0);
  }
  expect(machine.runtime.imageFs.usedBytes).toBeGreaterThan(0);
  const metrics = await node.cluster.kubectl(
    "get",
    "--raw",
    `/api/v1/nodes/${nodeName}/proxy/metrics/cadvisor`,
  );
  expect(metrics).toMatch(/container_cpu_usage_seconds_total\{[^}]*pod="measured"/);
  await remove("measured");
});

test("a pod is told to end, and killed when its time is up", async () => {
  await node.cluster.apply(
    podOf("leaving", {
      terminationGracePeriodSeconds: 30,
      containers: [
        shell("app", "trap 'echo told; exit 0' TERM; while :; do sleep 0.1; done", {
          lifecycle: { preStop: { exec: { command: ["touch", "/tmp/stopping"] } } },
        }),
      ],
    }),
  );
  await node.cluster.apply(
    podOf("staying", {
      terminationGracePeriodSeconds: 2,
      containers: [shell("app", "trap '' TERM; while :; do sleep 1; done")],
    }),
  );
  await ready("leaving");
  await ready("staying");
  await remove("leaving", "staying");
  await eventually("neither runs", async () => (await runningPods(node.runtime)).length === 0, patientMs);
});

test("a killed runtime comes back to pods that went on, and a kubelet that starts anew keeps them", async () => {
  const probe = { exec: { command: ["true"] }, periodSeconds: 1 };
  await node.cluster.apply(
    podOf("lasting", {
      containers: [shell("app", "sleep 3600", { readinessProbe: probe, livenessProbe: probe })],
    }),
  );
  await ready("lasting");
  const before = await container("lasting", "app");
  await node.runtime.kill();
  await node.runtime.start();
  await node.cluster.stopKubelet();
  await node.cluster.startKubelet();
  await ready("lasting");
  const after = await container("lasting", "app");
  expect(after.containerID).toBe(before.containerID!);
  expect(after.restartCount).toBe(0);
  await remove("lasting");
});

test("after the node was rebooted its pods are made again", async () => {
  await node.cluster.apply(podOf("returning", { containers: [shell("app", "sleep 3600")] }));
  await ready("returning");
  const before = await container("returning", "app");
  await node.cluster.stopKubelet();
  await node.runtime.reboot(await processesOfPods(node.runtime, node.cluster.cgroupRoot));
  await node.cluster.startKubelet();
  const after = await containerWhich(
    "returning",
    "app",
    "runs again",
    (s) => s.containerID !== before.containerID && s.ready,
  );
  expect(after.restartCount).toBe(1);
  expect(await runningPods(node.runtime)).toEqual(["returning"]);
  const { podIP } = (await node.cluster.pod("returning")).status;
  await eventually(
    "the node keeps no address but the pod's",
    async () => isDeepStrictEqual(await node.runtime.leases(), [podIP]),
    patientMs,
  );
  await remove("returning");
});

test("a pod that writes more than it may is evicted", async () => {
  const container = (name: string, script: string, limit: string) =>
    shell(name, script, { resources: { limits: { "ephemeral-storage": limit } } });
  // One writes to its root, the other to its log.
  await node.cluster.apply(
    podOf("filling", {
      containers: [container("app", "dd if=/dev/zero of=/file bs=1M count=16; sleep 3600", "4Mi")],
    }),
  );
  await node.cluster.apply(
    podOf("chatting", {
      containers: [container("app", "dd if=/dev/zero bs=1k count=40 | tr '\\0' 'x'; sleep 3600", "16Ki")],
    }),
  );
  for (const name of ["filling", "chatting"]) {
    await phase(name, "Failed");
    const { status } = await node.cluster.pod(name);
    expect(status).toMatchObject({
      reason: "Evicted",
      message: expect.stringMatching(/ephemeral.* storage/),
    });
  }
  await remove("filling", "chatting");
});

test("a node that runs short of room for images says so, and evicts", async () => {
  await node.cluster.apply(podOf("unlucky", { containers: [shell("app", "sleep 3600")] }));
  await ready("unlucky");
  // Others on the machine use the disk as well: what is a shortage is far from what they need.
  const { bavail, bsize } = statfsSync(tmpdir());
  const room = 2 ** 30 * Math.min(8, Math.floor((bavail * bsize) / 2 ** 30 / 4));
  const evictionHard = { "imagefs.available": String(bavail * bsize - room) };
  await node.cluster.stopKubelet();
  await node.cluster.startKubelet({ evictionHard, evictionPressureTransitionPeriod: "1s" });
  // A kubelet that does not know the pod yet would not let it in.
  await eventually(
    "the kubelet has the pod",
    () => node.cluster.kubectl("exec", "unlucky", "--", "echo", "there"),
    patientMs,
  );
  const file = join(tmpdir(), `podrt-room-${process.pid}`);
  try {
    await outputOf("fallocate", ["-l", String(2 * room), file]);
    await phase("unlucky", "Failed");
    await eventually("the node says so", async () => (await pressure()) === "True", patientMs);
  } finally {
    rmSync(file, { force: true });
  }
  const { status } = await node.cluster.pod("unlucky");
  expect(status).toMatchObject({
    reason: "Evicted",
    message: expect.stringContaining("The node was low on resource: ephemeral-storage"),
  });
  await eventually("the node has room again", async () => (await pressure()) === "False", patientMs);
  await node.cluster.stopKubelet();
  await node.cluster.startKubelet();
  await remove("unlucky");
});

/** Whether the node says that it has too little room on its disk. */
function pressure(): Promise<string> {
  return nodeCondition(node.cluster.kubectl, "DiskPressure");
}

test("images that nobody uses are collected", async () => {
  const image = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
  await node.cluster.apply(
    podOf("passing", { restartPolicy: "Never", containers: [{ ...shell("app", "true"), image }] }),
  );
  await phase("passing", "Succeeded");
  const present = () => hasImage(node.runtime, image);
  expect(await present()).toBe(true);
  await remove("passing");
  await eventually("the image is gone", async () => !(await present()), 400_000);
}, 420_000);
