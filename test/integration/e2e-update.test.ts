// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { weightOfShares } from "../../src/linux/cgroup/cpu.ts";
import { type Daemon, hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { cgroupOf, isV2, limitsIn } from "./harness/limits.ts";
import {
  type ContainerConfig,
  containerInfo,
  containerPid,
  containerStatus,
  createContainer,
  exited,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const MiB = 1024 * 1024;
const fixture = useDaemon();

async function limitsOf(daemon: Daemon, id: string) {
  const pid = await containerPid(daemon, id);
  return limitsIn((controller) => cgroupOf(pid, controller));
}

async function refusal(call: Promise<unknown>): Promise<[string, string]> {
  try {
    await call;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return [Code[code], rawMessage];
  }
  throw new Error("it succeeded");
}

const initial = {
  cpuShares: 512n,
  cpuQuota: 50_000n,
  cpuPeriod: 100_000n,
  memoryLimitInBytes: BigInt(64 * MiB),
  oomScoreAdj: 200n,
};
const linux = {
  resources: initial,
  securityContext: { namespaceOptions: { pid: 1 } },
} as ContainerConfig["linux"];

describe("a running container", () => {
  test("gets new limits at once, keeps the others, and shows both in its status, also after a restart", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "running");
    const containerId = await runContainer(daemon, pod, { name: "app", linux });
    const before = {
      weight: weightOfShares(512),
      quota: 50_000,
      period: 100_000,
      memory: 64 * MiB,
      total: 64 * MiB,
    };
    expect(await limitsOf(daemon, containerId)).toMatchObject(before);

    await daemon.api.updateContainerResources({ containerId, linux: { cpuQuota: 70_000n, cpusetCpus: "0" } });
    expect(await limitsOf(daemon, containerId)).toEqual({ ...before, quota: 70_000, cpus: "0" });
    await daemon.api.updateContainerResources({
      containerId,
      linux: { cpuShares: 2048n, cpuPeriod: 50_000n, memoryLimitInBytes: BigInt(256 * MiB) },
      annotations: { "example.com/reason": "more to do" },
    });
    const after = {
      weight: weightOfShares(2048),
      quota: 70_000,
      period: 50_000,
      memory: 256 * MiB,
      total: 256 * MiB,
      cpus: "0",
    };
    expect(await limitsOf(daemon, containerId)).toEqual(after);
    expect(await shellIn(daemon, containerId, "grep Cpus_allowed_list /proc/self/status")).toMatch(/\t0$/);

    const expected = {
      ...initial,
      cpuShares: 2048n,
      cpuQuota: 70_000n,
      cpuPeriod: 50_000n,
      memoryLimitInBytes: BigInt(256 * MiB),
      cpusetCpus: "0",
    };
    expect((await containerStatus(daemon, containerId)).resources?.linux).toMatchObject(expected);
    expect((await containerStatus(daemon, containerId)).annotations).toEqual({});
    await daemon.kill();
    await daemon.start();
    expect((await containerStatus(daemon, containerId)).resources?.linux).toMatchObject(expected);
    expect(await limitsOf(daemon, containerId)).toEqual(after);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("has memory and swap changed in either direction, each with and without the other", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "swap");
    const containerId = await runContainer(daemon, pod, { name: "app", linux });
    const update = (memory: number, swap: number) =>
      daemon.api.updateContainerResources({
        containerId,
        linux: { memoryLimitInBytes: BigInt(memory * MiB), memorySwapLimitInBytes: BigInt(swap * MiB) },
      });
    const sizes = async () => {
      const { memory, total } = await limitsOf(daemon, containerId);
      return [memory, total].map((bytes) => bytes / MiB);
    };
    for (const [memory, swap, shown] of [
      [32, 0, [32, 32]],
      [128, 0, [128, 128]],
      [0, 256, [128, 256]],
      [200, 0, [200, 256]],
      [16, 16, [16, 16]],
      [512, 1024, [512, 1024]],
      [64, 600, [64, 600]],
    ] as const) {
      await update(memory, swap);
      expect(await sizes()).toEqual([...shown]);
    }
    expect(await refusal(update(700, 0))).toEqual([
      "InvalidArgument",
      expect.stringMatching(/^linux.memory_swap_limit_in_bytes: would be 629145600, less than/),
    ]);
    expect(await sizes()).toEqual([64, 600]);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("is not brought below what it uses: a refusal changes nothing and kills nobody", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "in-use");
    const containerId = await runContainer(daemon, pod, {
      name: "app",
      command: ["sh", "-c", "head -c 30000000 /dev/zero > /dev/shm/held; exec sleep 3600"],
      linux,
    });
    await eventually("it holds 28 MiB", async () => {
      const pid = await containerPid(daemon, containerId);
      const file = isV2 ? "memory.current" : "memory.usage_in_bytes";
      return Number(readFileSync(`${cgroupOf(pid, "memory")}/${file}`, "utf8")) > 28 * MiB;
    });
    const before = await limitsOf(daemon, containerId);
    const [code, message] = await refusal(
      daemon.api.updateContainerResources({
        containerId,
        linux: { cpuShares: 4096n, memoryLimitInBytes: BigInt(10 * MiB) },
      }),
    );
    expect(code).toBe("FailedPrecondition");
    expect(message).toMatch(
      /cannot lower the memory limit of container .* to 10485760 bytes: \d+ bytes are in use/,
    );
    expect(await limitsOf(daemon, containerId)).toEqual(before);
    const status = await containerStatus(daemon, containerId);
    expect(status.state).toBe(ContainerState.CONTAINER_RUNNING);
    expect(status.resources?.linux).toMatchObject(initial);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("is refused what the kernel refuses, whole", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "refused");
    const containerId = await runContainer(daemon, pod, { name: "app", linux });
    const before = await limitsOf(daemon, containerId);
    const [code, message] = await refusal(
      daemon.api.updateContainerResources({
        containerId,
        linux: { cpuShares: 4096n, memoryLimitInBytes: BigInt(128 * MiB), cpusetCpus: "4000" },
      }),
    );
    expect(["InvalidArgument", "FailedPrecondition"]).toContain(code);
    expect(message).toContain("cpuset.cpus");
    expect(await limitsOf(daemon, containerId)).toEqual(before);
    expect((await containerStatus(daemon, containerId)).resources?.linux).toMatchObject(initial);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  // There such files exist, and the test of v2's files has them.
  test.skipIf(isV2)("is refused files of cgroup v2 where the controllers are v1's", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "unified");
    const containerId = await runContainer(daemon, pod, { name: "app", linux });
    const update = { containerId, linux: { cpuShares: 4096n, unified: { "memory.high": "max" } } };
    expect(await refusal(daemon.api.updateContainerResources(update))).toEqual([
      "InvalidArgument",
      expect.stringContaining("cannot be honoured: this machine's controllers are in cgroup v1"),
    ]);
    expect((await limitsOf(daemon, containerId)).weight).toBe(weightOfShares(512));
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("keeps the OOM score that its processes have", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "oom-score");
    const containerId = await runContainer(daemon, pod, { name: "app", linux });
    await daemon.api.updateContainerResources({ containerId, linux: { oomScoreAdj: 900n, cpuShares: 3n } });
    const pid = await containerPid(daemon, containerId);
    expect(procText(`/proc/${pid}/oom_score_adj`).trim()).toBe("200");
    expect(await shellIn(daemon, containerId, "cat /proc/self/oom_score_adj")).toBe("200");
    expect((await containerStatus(daemon, containerId)).resources?.linux).toMatchObject({
      oomScoreAdj: 200n,
      cpuShares: 3n,
    });
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });
});

test("a created container starts with its new limits and OOM score, also after a restart of the daemon", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "created");
  const containerId = await createContainer(daemon, pod, { name: "app", linux });
  await daemon.api.updateContainerResources({
    containerId,
    linux: { cpuShares: 2048n, memoryLimitInBytes: BigInt(96 * MiB), oomScoreAdj: 333n },
  });
  const expected = { ...initial, cpuShares: 2048n, memoryLimitInBytes: BigInt(96 * MiB), oomScoreAdj: 333n };
  expect((await containerStatus(daemon, containerId)).resources?.linux).toMatchObject(expected);
  await daemon.kill();
  await daemon.start();
  await daemon.api.startContainer({ containerId });
  expect(await limitsOf(daemon, containerId)).toMatchObject({
    weight: weightOfShares(2048),
    quota: 50_000,
    memory: 96 * MiB,
    total: 96 * MiB,
  });
  expect(procText(`/proc/${await containerPid(daemon, containerId)}/oom_score_adj`).trim()).toBe("333");
  expect((await containerStatus(daemon, containerId)).resources?.linux).toMatchObject(expected);
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});

test("a container that has ended, is being removed or is gone has no limits to update", async () => {
  const { daemon } = fixture;
  const { api } = daemon;
  const update = (containerId: string) =>
    refusal(api.updateContainerResources({ containerId, linux: { cpuShares: 3n } }));
  const pod = await runSandbox(daemon, "ended");
  const short = await runContainer(daemon, pod, { name: "short", command: ["true"], linux });
  await exited(daemon, short);
  expect(await update(short)).toEqual(["FailedPrecondition", expect.stringContaining("it is exited")]);
  const removed = await runContainer(daemon, pod, { name: "removed", linux });
  const removal = api.removeContainer({ containerId: removed });
  const [code, message] = await eventually("it is refused", () => update(removed).catch(() => undefined));
  expect([code, message.replace(/.*(being removed|exited|no container).*/, "$1")]).toEqual(
    code === "NotFound"
      ? ["NotFound", "no container"]
      : ["FailedPrecondition", expect.stringMatching(/^(being removed|exited)$/)],
  );
  await removal;
  expect((await update(removed))[0]).toBe("NotFound");
  await api.removePodSandbox({ podSandboxId: pod });
});

test("updates at once all arrive, each field with one of the values asked for", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "at-once");
  const containerId = await runContainer(daemon, pod, { name: "app", linux });
  await Promise.all(
    Array.from({ length: 40 }, (_, index) =>
      daemon.api.updateContainerResources({
        containerId,
        linux:
          index % 2 === 0
            ? { cpuShares: BigInt(100 + index) }
            : { memoryLimitInBytes: BigInt((100 + index) * MiB), cpuQuota: BigInt(20_000 + index) },
      }),
    ),
  );
  const status = (await containerStatus(daemon, containerId)).resources?.linux;
  const limits = await limitsOf(daemon, containerId);
  expect(limits).toMatchObject({
    weight: weightOfShares(Number(status?.cpuShares)),
    quota: Number(status?.cpuQuota),
    memory: Number(status?.memoryLimitInBytes),
  });
  expect(limits.memory / MiB - 100).toBe(limits.quota - 20_000);
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});

// crictl is written in Go, so it is there only where Go could build it.
test.skipIf(!hasCrictl)("crictl update and update-runtime-config", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "by-crictl");
  const id = await runContainer(daemon, pod, { name: "app", linux });
  await daemon.crictl(
    "update",
    "--cpu-quota",
    "33000",
    "--memory",
    String(80 * MiB),
    "--cpuset-cpus",
    "0",
    id,
  );
  expect(await limitsOf(daemon, id)).toMatchObject({ quota: 33_000, memory: 80 * MiB, cpus: "0" });
  const { config } = (await containerInfo(daemon, id)) as { config: { linux: { resources: object } } };
  expect(config.linux.resources).toMatchObject({ cpuQuota: "33000", cpuShares: "512" });
  const refused = await daemon.crictlResult("update", "--cpu-quota", "3", id);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toMatch(/code = InvalidArgument .*linux.cpu_quota/);
  await daemon.crictl("update-runtime-config", "10.244.8.0/24");
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});
