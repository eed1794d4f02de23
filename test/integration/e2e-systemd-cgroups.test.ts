// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { CgroupDriver } from "../../src/gen/runtime/v1/api_pb.ts";
import { projectDir } from "../fixtures/images/packages.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { patience } from "../support/patience.ts";
import { connectApi } from "./harness/api.ts";
import { cgroupDirectory } from "./harness/cgroup-files.ts";
import { outputOf } from "./harness/command.ts";
import { binary, type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { instanceOf } from "./harness/leftovers.ts";
import {
  containerPid,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  type SandboxConfig,
  shellIn,
} from "./harness/pods.ts";
import { isAlive, parentOf } from "./harness/proc.ts";
import { hasSystemd, makeSlice, stopUnits, unitProperties, unitsLike } from "./harness/systemd.ts";

/*
 * The cgroup driver systemd with a real one: make test-vm PART=systemd. What podrt does about one that does not answer
 * is tested with a made-up one, in e2e-systemd-faults.test.ts.
 */

const MIB = 1 << 20;
const slice = "prt-burstable-podab12.slice";
const slicePath = `/sys/fs/cgroup/prt.slice/prt-burstable.slice/${slice}`;
const resources = { memoryLimitInBytes: 64n * BigInt(MIB), cpuQuota: 50_000n, cpuPeriod: 100_000n };
const driver = '[cgroup]\ndriver = "systemd"\n';
/** OCI runtimes that the machine has. */
const runtimes = ["runc", "crun"].filter((name) => Bun.which(name) !== null);
const handlers = runtimes.map((name) => `[runtimes.${name}]\ntype = "oci"\npath = "${Bun.which(name)}"\n`);

let daemon: Daemon;
let registry: Registry;
setDefaultTimeout(60_000 * patience);

const inSlice = (cgroupParent: string) => ({ linux: { cgroupParent } }) as SandboxConfig;
const scopeOf = (pod: string) => `podrt-${pod}.scope`;
const limitsOf = (directory: string) =>
  ["memory.max", "cpu.max", "pids.max"].map((file) => readFileSync(join(directory, file), "utf8").trim());
const directoryOf = async (id: string) => cgroupDirectory(await containerPid(daemon, id), "");
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => "it was made",
    (error) => ConnectError.from(error).message,
  );
const remove = async (pod: string) => {
  await daemon.api.stopPodSandbox({ podSandboxId: pod });
  await daemon.api.removePodSandbox({ podSandboxId: pod });
};

// It takes a machine whose process 1 is systemd, with cgroup v2: make test-vm PART=systemd.
describe.skipIf(!hasSystemd)("cgroup driver systemd (skipped unless systemd runs the machine)", () => {
  beforeAll(async () => {
    registry = await startImageRegistry();
    daemon = await startDaemon({ mirror: registry.host, config: `${driver}${handlers.join("")}` });
  });

  afterAll(async () => {
    await daemon.removeEverything();
    // Slices that systemd has made by itself stay until somebody stops them.
    await stopUnits("prt.slice", `podrt-${instanceOf(daemon.root)}.slice`, "podrt.slice");
    try {
      await daemon.close();
    } finally {
      await registry[Symbol.asyncDispose]();
    }
  });

  test("the kubelet is told, and so is that systemd answers", async () => {
    expect((await daemon.api.runtimeConfig({})).linux?.cgroupDriver).toBe(CgroupDriver.SYSTEMD);
    const { status } = await daemon.api.status({});
    expect(status?.conditions.find(({ type }) => type === "SystemdReady")).toMatchObject({ status: true });
  });

  test("a pod is a delegated scope in the kubelet's slice, with its limits where they outlast a daemon-reload", async () => {
    await makeSlice(slice, { memoryMax: 256 * MIB, tasksMax: 500 });
    const pod = await runSandbox(daemon, "of-kubelet", inSlice(`/prt.slice/prt-burstable.slice/${slice}`));
    const scope = join(slicePath, scopeOf(pod));
    expect(await unitProperties(scopeOf(pod), "ActiveState", "Slice", "Delegate", "ControlGroup")).toEqual({
      ActiveState: "active",
      Slice: slice,
      Delegate: "yes",
      ControlGroup: scope.replace("/sys/fs/cgroup", ""),
    });
    const id = await runContainer(daemon, pod, {
      name: "limited",
      linux: { resources } as never,
    });
    expect(
      readdirSync(scope, { withFileTypes: true })
        .flatMap((one) => (one.isDirectory() ? [one.name] : []))
        .sort(),
    ).toEqual([id, "monitor", "pause"].sort());
    const pause = await pausePid(daemon, pod);
    expect(cgroupDirectory(pause, "")).toBe(join(scope, "pause"));
    expect(cgroupDirectory(parentOf(pause), "")).toBe(join(scope, "monitor"));
    expect(await directoryOf(id)).toBe(join(scope, id));
    // The slice has a limit of processes, which is the kubelet's: the configured one of podrt is for pods without.
    const limits = [String(64 * MIB), "50000 100000", "max"];
    expect(limitsOf(join(scope, id))).toEqual(limits);
    expect(limitsOf(slicePath)).toEqual([String(256 * MIB), "max 100000", "500"]);

    // Those that systemd does not know, such as hugetlb, too.
    const controllers = () =>
      readFileSync(join(scope, id, "cgroup.controllers"), "utf8")
        .trim()
        .split(" ");
    const all = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];
    expect(controllers().sort()).toEqual(all);

    await outputOf("systemctl", ["daemon-reload"]);
    expect(controllers().sort()).toEqual(all);
    expect(limitsOf(join(scope, id))).toEqual(limits);
    expect(limitsOf(slicePath)).toEqual([String(256 * MIB), "max 100000", "500"]);
    await daemon.api.updateContainerResources({
      containerId: id,
      linux: { memoryLimitInBytes: 80n * BigInt(MIB) },
    });
    await outputOf("systemctl", ["daemon-reexec"]);
    expect(limitsOf(join(scope, id))).toEqual([String(80 * MIB), "50000 100000", "max"]);

    expect(await shellIn(daemon, id, "cat /proc/self/cgroup")).toStartWith("0::/");
    const { stats } = await daemon.api.podSandboxStats({ podSandboxId: pod });
    expect(stats?.linux?.memory?.usageBytes?.value).toBeGreaterThan(0n);
    expect(stats?.linux?.containers.map(({ attributes }) => attributes?.id)).toEqual([id]);

    await daemon.kill();
    await daemon.start();
    expect(await shellIn(daemon, id, "echo still here")).toBe("still here");
    await remove(pod);
    expect(await unitsLike("podrt-*.scope")).toEqual([]);
    expect(existsSync(scope)).toBe(false);
    // What the kubelet has made is the kubelet's.
    expect((await unitProperties(slice, "ActiveState"))["ActiveState"]).toBe("active");
  });

  test("a kubelet may take its slice away before it has the stopped pod removed", async () => {
    await makeSlice("prt-early.slice", { memoryMax: 256 * MIB, tasksMax: 500 });
    const pod = await runSandbox(daemon, "early", inSlice("prt-early.slice"));
    await runContainer(daemon, pod, { name: "app" });
    await daemon.api.stopPodSandbox({ podSandboxId: pod });
    await outputOf("systemctl", ["stop", "prt-early.slice"]);
    expect(existsSync("/sys/fs/cgroup/prt.slice/prt-early.slice")).toBe(false);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
    expect((await daemon.api.listContainers({})).containers).toEqual([]);
  });

  for (const runtimeHandler of runtimes) {
    test(`${runtimeHandler} makes its containers in the scope too`, async () => {
      const metadata = { name: runtimeHandler, namespace: "default", uid: runtimeHandler };
      const config = { metadata, linux: { cgroupParent: "prt-oci.slice" } };
      const { podSandboxId: pod } = await daemon.api.runPodSandbox({ config, runtimeHandler });
      const id = await runContainer(daemon, pod, { name: "app", linux: { resources } as never });
      const directory = `/sys/fs/cgroup/prt.slice/prt-oci.slice/${scopeOf(pod)}/${id}`;
      expect(await directoryOf(id)).toBe(directory);
      expect(limitsOf(directory)).toEqual([String(64 * MIB), "50000 100000", "4096"]);
      expect(await shellIn(daemon, id, "echo executed")).toBe("executed");
      await remove(pod);
    });
  }

  test("a pod whose record is lost is ended with its scope", async () => {
    const pod = await runSandbox(daemon, "lost");
    const pause = await pausePid(daemon, pod);
    await daemon.kill();
    const database = new Database(join(daemon.root, "lib/podrt.db"));
    database.run("DELETE FROM sandboxes WHERE key = ?", [pod]);
    database.close();
    await daemon.start();
    expect(isAlive(pause)).toBe(false);
    await eventually("systemd has forgotten it", async () => (await unitsLike("podrt-*.scope")).length === 0);
  });

  test("where the slice's memory is used up, that is the pod's limit", async () => {
    await makeSlice("prt-small.slice", { memoryMax: 32 * MIB, tasksMax: 100 });
    const pod = await runSandbox(daemon, "small", inSlice("prt-small.slice"));
    const id = await runContainer(daemon, pod, { name: "greedy", command: ["sh", "-c", "tail /dev/zero"] });
    const { reason, message } = await exited(daemon, id, 60_000);
    expect([reason, message]).toEqual([
      "OOMKilled",
      "the kernel killed 1 of its processes for want of memory: the pod's memory limit of 32 MiB was reached",
    ]);
    await remove(pod);
  });

  test("a pod without a parent is limited by podrt, in a slice of podrt's, also after a daemon-reload", async () => {
    const podResources = { memoryLimitInBytes: 48n * BigInt(MIB) };
    const pod = await runSandbox(daemon, "of-podrt", { linux: { resources: podResources } } as SandboxConfig);
    const id = await runContainer(daemon, pod, { name: "app" });
    const own = `podrt-${instanceOf(daemon.root)}.slice`;
    const scope = `/sys/fs/cgroup/podrt.slice/${own}/${scopeOf(pod)}`;
    expect(await directoryOf(id)).toBe(join(scope, "pod", id));
    await outputOf("systemctl", ["daemon-reload"]);
    expect(limitsOf(join(scope, "pod"))[0]).toBe(String(48 * MIB));
    // Nobody else limits its processes.
    expect(limitsOf(join(scope, "pod", id))[2]).toBe("4096");
    await daemon.api.updatePodSandboxResources({
      podSandboxId: pod,
      resources: { memoryLimitInBytes: 96n * BigInt(MIB) },
    });
    expect(limitsOf(join(scope, "pod"))[0]).toBe(String(96 * MIB));
    await remove(pod);
    expect(await unitsLike("podrt-*.scope")).toEqual([]);
  });

  test("a slice that is not there is made by systemd; what is no slice, or not where it says, is refused", async () => {
    const pod = await runSandbox(daemon, "new-slice", inSlice("prt-new.slice"));
    expect((await unitProperties("prt-new.slice", "ActiveState"))["ActiveState"]).toBe("active");
    expect(cgroupDirectory(await pausePid(daemon, pod), "")).toBe(
      `/sys/fs/cgroup/prt.slice/prt-new.slice/${scopeOf(pod)}/pause`,
    );
    await remove(pod);
    for (const parent of ["/kubepods/burstable/pod1", "prt--a.slice", "system.service", "a@b.slice"]) {
      expect(await refusal(runSandbox(daemon, "refused", inSlice(parent)))).toContain(
        "config.linux.cgroup_parent: must be a slice of systemd's",
      );
    }
    expect(await refusal(runSandbox(daemon, "refused", inSlice("/system.slice/prt-a.slice")))).toContain(
      "but systemd has prt-a.slice at /prt.slice/prt-a.slice",
    );
    expect(await unitsLike("podrt-*.scope")).toEqual([]);
  });

  test("a pod whose processes have all been killed leaves no unit, and is removed", async () => {
    const pod = await runSandbox(daemon, "killed");
    const pause = await pausePid(daemon, pod);
    await outputOf("systemctl", ["kill", "--signal=SIGKILL", scopeOf(pod)]);
    await eventually("the pod has ended", () => !isAlive(pause));
    await eventually("systemd has forgotten it", async () => (await unitsLike("podrt-*.scope")).length === 0);
    await remove(pod);
  });

  test("a scope that somebody stops is a pod that is not ready, and ends when that is stopped", async () => {
    const pod = await runSandbox(daemon, "stopped-from-outside");
    // The pod's monitor waits for podrt, and systemd, for as long as it is configured to, for the monitor.
    await outputOf("systemctl", ["stop", "--no-block", scopeOf(pod)]);
    await eventually("the pod is not ready", async () => {
      const { items } = await daemon.api.listPodSandbox({ filter: { id: pod } });
      return items[0]?.state === 1;
    });
    await remove(pod);
    expect(await unitsLike("podrt-*.scope")).toEqual([]);
  });

  test("pods are made while systemd reloads, and after its bus has gone, over its own socket", async () => {
    const reloads = (async () => {
      for (let turn = 0; turn < 3; turn++) await outputOf("systemctl", ["daemon-reload"]);
    })();
    const names = ["a", "b", "c", "d"];
    const pods = await Promise.all(names.map((name) => runSandbox(daemon, `while-reloading-${name}`)));
    await reloads;
    // systemd comes back on the bus under another name.
    await outputOf("systemctl", ["daemon-reexec"]);
    pods.push(await runSandbox(daemon, "after-reexec"));
    await stopUnits("dbus.socket", "dbus.service");
    const busState = async () => (await unitProperties("dbus.service", "ActiveState"))["ActiveState"];
    try {
      expect(await busState()).toBe("inactive");
      const pod = await runSandbox(daemon, "without-a-bus");
      expect(await busState()).toBe("inactive");
      pods.push(pod);
      expect(await unitsLike(scopeOf(pod))).toEqual([scopeOf(pod)]);
    } finally {
      await outputOf("systemctl", ["start", "dbus.socket", "dbus.service"]);
    }
    await Promise.all(pods.map(remove));
    expect(await unitsLike("podrt-*.scope")).toEqual([]);
  });

  test("podrt.service is stopped and started, and its pods go on outside of its cgroup", async () => {
    const root = mkdtempSync(join(tmpdir(), "prt-"));
    const name = `prt-${basename(root)}.service`;
    const unit = readFileSync(join(projectDir, "systemd/podrt.service"), "utf8");
    const exec = `ExecStart=${binary} serve --root ${root}`;
    writeFileSync(`/run/systemd/system/${name}`, unit.replace(/^ExecStart=.*$/m, exec));
    writeFileSync(join(root, "config.toml"), driver);
    const api = connectApi(join(root, "run/podrt.sock"));
    const config = { metadata: { name: "of-service", namespace: "default", uid: "of-service" } };
    try {
      await outputOf("systemctl", ["daemon-reload"]);
      await outputOf("systemctl", ["start", name]);
      const { podSandboxId } = await api.runPodSandbox({ config });
      const { info } = await api.podSandboxStatus({ podSandboxId, verbose: true });
      const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
      await outputOf("systemctl", ["stop", name]);
      const stopped = await unitProperties(name, "ActiveState", "Result", "ControlGroup");
      expect(stopped).toMatchObject({ ActiveState: "inactive", Result: "success" });
      expect(isAlive(pid) && isAlive(parentOf(pid))).toBe(true);
      expect((await unitProperties(scopeOf(podSandboxId), "ActiveState"))["ActiveState"]).toBe("active");
      // Nothing of a pod is left in the service's cgroup.
      expect(existsSync(`/sys/fs/cgroup/system.slice/${name}`)).toBe(false);
      await outputOf("systemctl", ["start", name]);
      const { items } = await api.listPodSandbox({});
      expect(items.map(({ id, state }) => [id, state])).toEqual([[podSandboxId, 0]]);
      await api.stopPodSandbox({ podSandboxId });
      await api.removePodSandbox({ podSandboxId });
      expect(await unitsLike("podrt-*.scope")).toEqual([]);
    } finally {
      await stopUnits(name, `podrt-${instanceOf(root)}.slice`);
      rmSync(`/run/systemd/system/${name}`, { force: true });
      await outputOf("systemctl", ["daemon-reload"]);
      rmSync(root, { recursive: true, force: true });
    }
  });
});
