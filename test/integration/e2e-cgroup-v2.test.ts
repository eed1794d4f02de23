// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { cgroupOf, isV2 } from "./harness/limits.ts";
import {
  type ContainerConfig,
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  exited,
  runContainer,
  runSandbox,
  type SecurityContext,
  shellIn,
} from "./harness/pods.ts";
import { isAlive, procText, statusField } from "./harness/proc.ts";

const MiB = 1024 * 1024;
const NAMESPACE_CONTAINER = 1;
const fixture = useDaemon();
const CAP_SYS_RESOURCE = 1n << 24n;
const mayLowerScores = (BigInt(`0x${statusField(process.pid, "CapEff") || 0}`) & CAP_SYS_RESOURCE) !== 0n;
let pod: string;

interface Wishes {
  readonly resources?: object;
  readonly privileged?: boolean;
}

function linuxOf({ resources, privileged = false }: Wishes): ContainerConfig["linux"] {
  const securityContext = { privileged, namespaceOptions: { pid: NAMESPACE_CONTAINER } } as SecurityContext;
  return { resources, securityContext } as ContainerConfig["linux"];
}

const directoryOf = async (id: string) => cgroupOf(await containerPid(fixture.daemon, id), "");
const childrenOf = (directory: string) =>
  readdirSync(directory).filter((name) => statSync(`${directory}/${name}`).isDirectory());

async function fileOf(id: string, name: string): Promise<string> {
  return readFileSync(`${await directoryOf(id)}/${name}`, "utf8").trim();
}

// Elsewhere the same is tested on plain folders; make test-vm runs this one.
describe.skipIf(!isV2)("cgroup v2 (skipped unless all controllers are v2's)", () => {
  beforeAll(async () => {
    pod = await runSandbox(fixture.daemon, "unified", {
      linux: { securityContext: { privileged: true, namespaceOptions: { pid: NAMESPACE_CONTAINER } } },
    } as never);
  });

  test("every controller that limits are set with is handed down to a container", async () => {
    const id = await runContainer(fixture.daemon, pod, { name: "controllers" });
    const handedDown = (await fileOf(id, "cgroup.controllers")).split(" ");
    const wanted = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];
    const available = readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ");
    expect(handedDown.sort()).toEqual(wanted.filter((name) => available.includes(name)).sort());
  });

  test("files that are named outright are written at the start and by an update, and shown after a restart", async () => {
    const { daemon } = fixture;
    const unified = { "memory.high": String(48 * MiB), "memory.oom.group": "1" };
    const resources = { memoryLimitInBytes: BigInt(64 * MiB), unified };
    const containerId = await runContainer(daemon, pod, { name: "outright", linux: linuxOf({ resources }) });
    expect(await fileOf(containerId, "memory.high")).toBe(String(48 * MiB));
    expect(await fileOf(containerId, "memory.oom.group")).toBe("1");
    await daemon.api.updateContainerResources({
      containerId,
      linux: { unified: { "memory.high": "max", "memory.low": String(4 * MiB), "cpu.max": "30000 100000" } },
    });
    expect(await fileOf(containerId, "memory.high")).toBe("max");
    expect(await fileOf(containerId, "memory.low")).toBe(String(4 * MiB));
    expect(await fileOf(containerId, "cpu.max")).toBe("30000 100000");
    expect(await fileOf(containerId, "memory.max")).toBe(String(64 * MiB));
    await daemon.kill();
    await daemon.start();
    expect((await containerStatus(daemon, containerId)).resources?.linux?.unified).toEqual({
      "memory.high": "max",
      "memory.low": String(4 * MiB),
      "memory.oom.group": "1",
      "cpu.max": "30000 100000",
    });
  });

  test("a file that is not there, and a value that the kernel refuses, change nothing", async () => {
    const { daemon } = fixture;
    const resources = { cpuShares: 512n };
    const containerId = await runContainer(daemon, pod, { name: "refused", linux: linuxOf({ resources }) });
    const before = await fileOf(containerId, "cpu.weight");
    for (const [name, value] of [
      ["memory.nonsense", "1"],
      ["memory.high", "plenty"],
    ] as const) {
      const change = { containerId, linux: { cpuShares: 4096n, unified: { [name]: value } } };
      const error = await daemon.api.updateContainerResources(change).catch(ConnectError.from);
      expect(error).toBeInstanceOf(ConnectError);
      const { code, message } = error as ConnectError;
      expect([Code.InvalidArgument, Code.FailedPrecondition]).toContain(code);
      expect(message).toContain(name);
      expect(await fileOf(containerId, "cpu.weight")).toBe(before);
      expect((await containerStatus(daemon, containerId)).resources?.linux?.unified).toEqual({});
    }
    const linux = linuxOf({ resources: { unified: { "memory.nonsense": "1" } } });
    const id = await createContainer(daemon, pod, { name: "never", linux }).catch(ConnectError.from);
    const refused =
      id instanceof ConnectError
        ? id
        : await daemon.api.startContainer({ containerId: id }).catch(ConnectError.from);
    expect((refused as ConnectError).message).toContain("memory.nonsense");
  });

  test("out of memory, one process of a container is killed, or all with memory.oom.group", async () => {
    const { daemon } = fixture;
    const command = ["sh", "-c", "sleep 3600 & tail /dev/zero; echo survived; wait"];
    const limit = { memoryLimitInBytes: BigInt(24 * MiB), memorySwapLimitInBytes: BigInt(24 * MiB) };
    const alone = await runContainer(daemon, pod, {
      name: "one",
      command,
      linux: linuxOf({ resources: limit }),
    });
    await eventually("the kernel counts the kill", async () =>
      /^oom_kill 1$/m.test(await fileOf(alone, "memory.events")),
    );
    expect(isAlive(await containerPid(daemon, alone))).toBe(true);

    const unified = { "memory.oom.group": "1" };
    const linux = linuxOf({ resources: { ...limit, unified } });
    const together = await runContainer(daemon, pod, { name: "all", command, linux });
    const { reason, exitCode } = await exited(daemon, together, 30_000);
    expect([reason, exitCode]).toEqual(["OOMKilled", 137]);
  });

  test("a container whose exec takes too much memory goes on, and so do its other execs", async () => {
    const { daemon } = fixture;
    const resources = { memoryLimitInBytes: BigInt(24 * MiB), memorySwapLimitInBytes: BigInt(24 * MiB) };
    const id = await runContainer(daemon, pod, { name: "exec", linux: linuxOf({ resources }) });
    const waiting = execIn(daemon, id, "sh", "-c", "sleep 3; echo still here");
    expect((await execIn(daemon, id, "tail", "/dev/zero")).code).toBe(137);
    expect((await waiting).stdout).toBe("still here\n");
    expect(await fileOf(id, "memory.events")).toMatch(/^oom_kill 1$/m);
    await eventually(
      "the cgroups of the execs go",
      async () => childrenOf(await directoryOf(id)).length === 0,
    );
  });

  test("a container that divides its own cgroup is executed in, updated, counted and removed", async () => {
    const { daemon } = fixture;
    // A privileged container is in the host's cgroup namespace.
    const divide = [
      "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)",
      "mkdir init work",
      "echo 1 > init/cgroup.procs",
      "echo '+memory +pids' > cgroup.subtree_control",
      "sleep 3600 & echo $! > work/cgroup.procs",
      "exec sleep 3600",
    ];
    const id = await runContainer(daemon, pod, {
      name: "manager",
      command: ["sh", "-ec", divide.join("; ")],
      linux: linuxOf({ privileged: true }),
    });
    const pid = await containerPid(daemon, id);
    await eventually("it sleeps", () => procText(`/proc/${pid}/comm`) === "sleep\n");
    const directory = (await directoryOf(id)).replace(/\/init$/, "");
    expect(readFileSync(`${directory}/cgroup.subtree_control`, "utf8").trim()).toBe("memory pids");
    expect(readFileSync(`${directory}/work/pids.current`, "utf8").trim()).toBe("1");
    expect(await shellIn(daemon, id, "echo executed")).toBe("executed");
    await daemon.api.updateContainerResources({
      containerId: id,
      linux: { memoryLimitInBytes: BigInt(40 * MiB) },
    });
    expect(readFileSync(`${directory}/memory.max`, "utf8").trim()).toBe(String(40 * MiB));
    const { stats } = await daemon.api.containerStats({ containerId: id });
    expect(stats?.memory?.usageBytes?.value).toBeGreaterThan(0n);
    await daemon.api.stopContainer({ containerId: id, timeout: 0n });
    await daemon.api.removeContainer({ containerId: id });
    expect(() => statSync(directory)).toThrow("ENOENT");
  });

  test("the cgroup is the root of its own namespace, in which others are not seen", async () => {
    const { daemon } = fixture;
    const command = ["sh", "-c", "cat /proc/1/cgroup; sleep 3600"];
    const id = await runContainer(daemon, pod, { name: "namespace", command });
    expect(await shellIn(daemon, id, "cat /proc/1/cgroup")).toBe("0::/");
    expect(await shellIn(daemon, id, "cat /sys/fs/cgroup/cgroup.procs")).toBe("1");
    expect((await execIn(daemon, id, "mkdir", "/sys/fs/cgroup/x")).stderr).toContain("Read-only");
  });

  // Only who has CAP_SYS_RESOURCE may lower scores below its own.
  test.skipIf(!mayLowerScores)(
    "an OOM score below the daemon's own arrives (skipped without CAP_SYS_RESOURCE)",
    async () => {
      const { daemon } = fixture;
      const linux = linuxOf({ resources: { oomScoreAdj: -700n } });
      const id = await runContainer(daemon, pod, { name: "score", linux });
      expect(procText(`/proc/${await containerPid(daemon, id)}/oom_score_adj`).trim()).toBe("-700");
      expect(await shellIn(daemon, id, "cat /proc/self/oom_score_adj")).toBe("-700");
    },
  );
});
