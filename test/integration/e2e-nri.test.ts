// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { weightOfShares } from "../../src/linux/cgroup/cpu.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { cgroupOf, limitsIn } from "./harness/limits.ts";
import { asking, type BuiltPlugin, buildPlugin, go, type NriPlugin, refusal } from "./harness/nri-plugin.ts";
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
if (go === null) console.log("skipped: NRI plugins, because Go is not installed");

// Without Go there is no plugin, as said above.
describe.skipIf(go === null)("NRI plugins", () => {
  const fixture = useDaemon({ config: "[nri]\nenabled = true\n" });
  const dir = mkdtempSync(join(tmpdir(), "podrt-nri-files-"));
  let built: BuiltPlugin;

  beforeAll(async () => {
    built = await buildPlugin();
    writeFileSync(join(dir, "library"), "from the plugin\n");
  }, 300_000);

  afterAll(() => {
    built?.[Symbol.dispose]();
    rmSync(dir, { recursive: true });
  });

  async function limitsOf(id: string) {
    const pid = await containerPid(fixture.daemon, id);
    return limitsIn((controller) => cgroupOf(pid, controller));
  }

  function eventsOf({ heard }: NriPlugin, pod: string): string[] {
    return heard
      .filter((line) => line.pod === pod)
      .map(({ event, container }) => (container === "" ? event : `${event} ${container}`));
  }

  test("hear of every step of pods and containers, in order, each in the order of the plugins", async () => {
    const { daemon } = fixture;
    await using later = await built.start(daemon, "20", "later");
    await using first = await built.start(daemon, "10", "first");
    const pod = await runSandbox(daemon, "life");
    const id = await runContainer(daemon, pod, { name: "app" });
    const started = await first.hears("PostStartContainer", "life", "app");
    expect(started["pid"]).toBe(await containerPid(daemon, id));
    await daemon.api.updateContainerResources({ containerId: id, linux: { cpuShares: 600n } });
    await daemon.api.updatePodSandboxResources({ podSandboxId: pod, resources: { cpuShares: 900n } });
    await daemon.api.stopContainer({ containerId: id });
    const unstarted = await createContainer(daemon, pod, { name: "idle" });
    await daemon.api.removeContainer({ containerId: unstarted });
    await daemon.api.removeContainer({ containerId: id });
    await daemon.api.stopPodSandbox({ podSandboxId: pod });
    await daemon.api.stopPodSandbox({ podSandboxId: pod });
    await daemon.api.removePodSandbox({ podSandboxId: pod });
    const expected = [
      "RunPodSandbox",
      "CreateContainer app",
      "ValidateContainerAdjustment app",
      "PostCreateContainer app",
      "StartContainer app",
      "PostStartContainer app",
      "UpdateContainer app",
      "PostUpdateContainer app",
      "UpdatePodSandbox",
      "PostUpdatePodSandbox",
      "StopContainer app",
      "CreateContainer idle",
      "ValidateContainerAdjustment idle",
      "PostCreateContainer idle",
      "StopContainer idle",
      "RemoveContainer idle",
      "RemoveContainer app",
      "StopPodSandbox",
      "RemovePodSandbox",
    ];
    await later.hears("RemovePodSandbox", "life");
    expect(eventsOf(first, "life")).toEqual(expected);
    expect(eventsOf(later, "life")).toEqual(expected);
    expect(first.heard.find(({ event }) => event === "RunPodSandbox")!["ips"]).toHaveLength(1);
    expect((await first.hears("PostUpdateContainer", "life", "app"))["shares"]).toBe(600);
    expect((await first.hears("UpdatePodSandbox", "life"))["shares"]).toBe(900);
  });

  test("adjust a container in every way that podrt knows, and later plugins see it", async () => {
    const { daemon } = fixture;
    await using _first = await built.start(daemon, "10", "first");
    await using second = await built.start(daemon, "20", "second");
    const pod = await runSandbox(daemon, "adjusted");
    const adjust = {
      annotations: { added: "by plugin", "-nri.test/gone": "" },
      env: [{ key: "ADDED", value: "a b" }, { key: "-UNWANTED" }, { key: "OWN", value: "changed" }],
      mounts: [
        {
          destination: "/usr/lib/added",
          source: join(dir, "library"),
          type: "bind",
          options: ["ro", "bind"],
        },
        { destination: "-/unwanted" },
      ],
      args: ["sleep", "7200"],
      rlimits: [{ type: "RLIMIT_NOFILE", soft: "100", hard: "200" }],
      linux: {
        devices: [{ path: "/dev/added", type: "c", major: "1", minor: "3", fileMode: { value: 0o640 } }],
        oomScoreAdj: { value: "321" },
        ioPriority: { class: "IOPRIO_CLASS_BE", priority: 6 },
        resources: {
          memory: { limit: { value: String(64 * MiB) } },
          cpu: { shares: { value: "700" }, quota: { value: "60000" }, period: { value: "100000" } },
          pids: { limit: "77" },
        },
        seccompPolicy: {
          defaultAction: "SCMP_ACT_ALLOW",
          architectures: ["SCMP_ARCH_X86_64"],
          syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: { value: 28 } }],
        },
      },
    };
    const config = asking(
      "app",
      { "10.adjust": adjust, gone: "soon", "20.adjust": { env: [{ key: "SECOND", value: "too" }] } },
      {
        envs: [
          { key: "UNWANTED", value: Buffer.from("here") },
          { key: "OWN", value: Buffer.from("asked") },
        ],
        mounts: [{ containerPath: "/unwanted", hostPath: dir }],
      },
    );
    const id = await runContainer(daemon, pod, config);
    expect(
      await shellIn(
        daemon,
        id,
        "echo $ADDED $OWN $SECOND $UNWANTED.; cat /usr/lib/added; touch /usr/lib/added 2>&1; ls -d /unwanted/library 2>&1; ionice; ulimit -n; ulimit -Hn; stat -c '%F %a %t:%T' /dev/added; mkdir /tmp/x 2>&1; echo; tr '\\0' ' ' </proc/1/cmdline",
      ).catch((error) => error.message),
    ).toBe(
      [
        "a b changed too .",
        "from the plugin",
        "touch: /usr/lib/added: Read-only file system",
        "ls: /unwanted/library: No such file or directory",
        "best-effort: prio 6",
        "100",
        "200",
        "character special file 640 1:3",
        "mkdir: can't create directory '/tmp/x': No space left on device",
        "",
        "sleep 7200 ",
      ].join("\n"),
    );
    const pid = await containerPid(daemon, id);
    expect(procText(`/proc/${pid}/oom_score_adj`).trim()).toBe("321");
    expect(await limitsOf(id)).toMatchObject({ memory: 64 * MiB, quota: 60_000, period: 100_000 });
    const status = await containerStatus(daemon, id);
    expect(status.resources?.linux).toMatchObject({
      memoryLimitInBytes: BigInt(64 * MiB),
      cpuShares: 700n,
      oomScoreAdj: 321n,
    });
    const { runtimeSpec } = (await containerInfo(daemon, id)) as {
      runtimeSpec: { annotations: Record<string, string>; linux: { resources: object } };
    };
    expect(runtimeSpec.annotations).toMatchObject({ added: "by plugin" });
    expect(runtimeSpec.annotations).not.toHaveProperty("nri.test/gone");
    expect(runtimeSpec.linux.resources).toMatchObject({ pids: { limit: 77 } });
    const seen = await second.hears("CreateContainer", "adjusted", "app");
    expect(seen["args"]).toEqual(["sleep", "7200"]);
    expect(seen["env"]).toContain("ADDED=a b");
    const validated = await second.hears("ValidateContainerAdjustment", "adjusted", "app");
    expect(validated["owners"]).toMatchObject({ Args: "10-first", MemLimit: "10-first" });
    expect(validated).toMatchObject({ args: ["sleep", "7200"], plugins: 2 });
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("are refused by name, with the field, what podrt cannot do, and what two of them set", async () => {
    const { daemon } = fixture;
    await using first = await built.start(daemon, "10", "first");
    await using _second = await built.start(daemon, "20", "second");
    const pod = await runSandbox(daemon, "refused");
    const cases: [adjust: Readonly<Record<string, string | object>>, sentence: RegExp][] = [
      [
        { "10.adjust": { hooks: { prestart: [{ path: "/bin/true" }] } } },
        /10-first sets hooks.prestart, .* executes no/,
      ],
      [
        { "10.adjust": { linux: { scheduler: { policy: "SCHED_FIFO" } } } },
        /10-first sets linux.scheduler, /,
      ],
      [{ "10.adjust": { linux: { sysctl: { "net.core.x": "1" } } } }, /linux.sysctl\[net.core.x\]/],
      [{ "10.adjust": { linux: { cgroupsPath: "/x" } } }, /linux.cgroups_path/],
      [{ "10.adjust": { linux: { namespaces: [{ type: "-cgroup" }] } } }, /linux.namespaces\[cgroup\]/],
      [{ "10.adjust": { linux: { rdt: { remove: true } } } }, /linux.rdt/],
      [{ "10.adjust": { linux: { memoryPolicy: { nodes: "0" } } } }, /linux.memory_policy/],
      [{ "10.adjust": { linux: { netDevices: { eth9: { name: "x" } } } } }, /linux.net_devices\[eth9\]/],
      [
        { "10.adjust": { linux: { resources: { memory: { swappiness: { value: "3" } } } } } },
        /linux.resources.memory.swappiness/,
      ],
      [{ "10.adjust": { linux: { resources: { blockioClass: { value: "fast" } } } } }, /blockio_class/],
      [{ "10.adjust": { rlimits: [{ type: "RLIMIT_LUCK", hard: "1" }] } }, /rlimits\[RLIMIT_LUCK\]/],
      [{ "10.adjust": { CDIDevices: [{ name: "no.such/device=0" }] } }, /no\.such\/device=0/],
      [
        { "10.adjust": { mounts: [{ destination: "/x", source: "/nowhere", type: "bind" }] } },
        /NRI plugin 10-first: the mount on \/x cannot be made/,
      ],
      [
        { "10.adjust": { mounts: [{ destination: "/x", source: "x", type: "tmpfs" }] } },
        /NRI plugin 10-first: the mount on \/x is of type tmpfs/,
      ],
      [
        {
          "10.adjust": { env: [{ key: "A", value: "1" }] },
          "20.adjust": { env: [{ key: "A", value: "2" }] },
        },
        /NRI plugins 10-first and 20-second both set env\[A\] of container/,
      ],
      [
        { "10.adjust": { args: ["a"] }, "20.adjust": { args: ["b"] } },
        /10-first and 20-second both set args/,
      ],
      [{ "20.refuse": "CreateContainer" }, /NRI plugin 20-second refuses CreateContainer: .*not today/],
      [{ "20.refuse": "ValidateContainerAdjustment" }, /20-second refuses .*: not today/],
    ];
    for (const [index, [asked, sentence]] of cases.entries()) {
      expect(await refusal(createContainer(daemon, pod, asking(`app${index}`, asked)))).toMatch(sentence);
      await first.hears("RemoveContainer", "refused", `app${index}`);
    }
    expect((await daemon.api.listContainers({ filter: { podSandboxId: pod } })).containers).toEqual([]);
    // The second takes what the first has set as its own.
    const replaced = asking("replaced", {
      "10.adjust": { env: [{ key: "A", value: "1" }], args: ["false"] },
      "20.adjust": { env: [{ key: "-A" }, { key: "A", value: "2" }], args: ["", "sleep", "1000"] },
    });
    const id = await runContainer(daemon, pod, replaced);
    expect(await shellIn(daemon, id, "echo $A")).toBe("2");
    const unwilling = await createContainer(
      daemon,
      pod,
      asking("unwilling", { "10.refuse": "StartContainer" }),
    );
    expect(await refusal(daemon.api.startContainer({ containerId: unwilling }))).toMatch(
      /NRI plugin 10-first refuses StartContainer: .*not today/,
    );
    expect((await exited(daemon, unwilling)).reason).toBe("StartError");
    await daemon.api.removePodSandbox({ podSandboxId: pod });

    const config = {
      metadata: { name: "unwanted", namespace: "default", uid: "unwanted" },
      annotations: { "nri.test/20.refuse": "RunPodSandbox" },
    };
    expect(await refusal(daemon.api.runPodSandbox({ config }))).toMatch(/20-second refuses RunPodSandbox/);
    await first.hears("RemovePodSandbox", "unwanted");
    expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
  });

  test("change updates, and other containers, also unasked", async () => {
    const { daemon } = fixture;
    await using plugin = await built.start(daemon, "10", "first");
    const pod = await runSandbox(daemon, "updates");
    const shares = (containerId: string, value: number, more: object = {}) => ({
      containerId,
      linux: { resources: { cpu: { quota: { value: String(value) } } } },
      ...more,
    });
    const other = await runContainer(daemon, pod, {
      name: "other",
      linux: { resources: { cpuQuota: 20_000n, cpuPeriod: 100_000n } } as ContainerConfig["linux"],
    });
    const update = (quota: number) => ({ "10.CreateContainer.updates": { update: [shares(other, quota)] } });
    await createContainer(daemon, pod, asking("neighbour", update(30_000)));
    expect((await limitsOf(other)).quota).toBe(30_000);

    expect(await plugin.ask({ update: [shares(other, 40_000)] })).toMatchObject({
      failed: 0,
      error: "<nil>",
    });
    expect((await limitsOf(other)).quota).toBe(40_000);
    const wrong = [
      shares("nobody", 1000),
      shares("nobody", 1000, { ignoreFailure: true }),
      { containerId: other, linux: { resources: { pids: { limit: "5" } } } },
    ];
    expect(await plugin.ask({ update: wrong })).toMatchObject({ failed: 2, error: "<nil>" });
    expect(daemon.log()).toContain(
      "linux.resources.pids, which cannot be: podrt sets it when a container is created",
    );

    const raised = { "10.UpdateContainer.updates": { update: [shares("SELF", 65_000)] } };
    const own = await runContainer(daemon, pod, asking("own", raised));
    await daemon.api.updateContainerResources({
      containerId: own,
      linux: { cpuQuota: 61_000n, cpuShares: 640n },
    });
    expect(await limitsOf(own)).toMatchObject({ quota: 65_000, weight: weightOfShares(640) });
    expect((await plugin.hears("PostUpdateContainer", "updates", "own"))["shares"]).toBe(640);
    const selfish = await runContainer(
      daemon,
      pod,
      asking("selfish", { "10.StopContainer.updates": { update: [shares(other, 50_000)] } }),
    );
    await daemon.api.stopContainer({ containerId: selfish });
    await eventually("the stop's update is in force", async () => (await limitsOf(other)).quota === 50_000);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("that vanish, hang or talk nonsense are dropped by name, and pods go on", async () => {
    const { daemon } = fixture;
    await using steady = await built.start(daemon, "30", "steady");
    const pod = await runSandbox(daemon, "bad");
    {
      await using killed = await built.start(daemon, "10", "killed");
      process.kill(killed.pid, "SIGKILL");
      await eventually("its end is noticed", () => daemon.log().includes("NRI plugin 10-killed is gone"));
    }
    await runContainer(daemon, pod, { name: "after-kill" });
    await steady.hears("PostStartContainer", "bad", "after-kill");
    {
      await using _hangs = await built.start(daemon, "10", "hangs");
      await runContainer(daemon, pod, asking("hung", { "10.hang": "StartContainer" }));
      expect(daemon.log()).toContain(
        "NRI plugin 10-hangs failed to answer StartContainer: StartContainer did not finish within 2000 ms; it is dropped",
      );
      await steady.hears("PostStartContainer", "bad", "hung");
    }
    {
      await using hangs = await built.start(daemon, "10", "hangs");
      const stopped = await runSandbox(daemon, "stopped");
      const late = createContainer(daemon, stopped, asking("late", { "10.hang": "CreateContainer" }));
      const refused = refusal(late);
      await hangs.hears("CreateContainer", "stopped", "late");
      await daemon.api.stopPodSandbox({ podSandboxId: stopped });
      expect(await refused).toMatch(/sandbox \w+ is not ready/);
      expect((await daemon.api.listContainers({ filter: { podSandboxId: stopped } })).containers).toEqual([]);
      await daemon.api.removePodSandbox({ podSandboxId: stopped });
    }
    const path = join(daemon.root, "run/nri.sock");
    for (const garbage of [
      Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
      Buffer.from([0, 0, 0, 2, 0, 0, 0, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0]),
      Buffer.from([0, 0, 0, 2, 0, 0, 0, 13, 0, 0, 0, 3, 0, 0, 0, 1, 1, 0, 0xff, 0xff, 0xff]),
      Buffer.from([0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 99, 2, 0]),
    ]) {
      const socket = connect(path);
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      socket.on("error", () => {});
      socket.resume();
      socket.write(garbage);
      await closed;
    }
    await eventually(
      "each of them is sent away",
      () => daemon.log().match(/NRI plugin that has no name yet is sent away/g)?.length === 4,
    );
    await runContainer(daemon, pod, { name: "after-garbage" });
    await steady.hears("PostStartContainer", "bad", "after-garbage");
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });

  test("find the daemon again after its restart, and are told what is there", async () => {
    const { daemon } = fixture;
    await using plugin = await built.start(daemon, "10", "first");
    const pod = await runSandbox(daemon, "kept");
    const gone = await runContainer(daemon, pod, { name: "ended", command: ["true"] });
    await exited(daemon, gone);
    await runContainer(daemon, pod, { name: "running" });
    await daemon.kill();
    await daemon.start();
    const again = await eventually(
      "it is synchronized again",
      () => plugin.heard.filter(({ event }) => event === "Synchronize")[1],
    );
    expect(again["names"]).toEqual(["kept", "running"]);
    await runContainer(daemon, pod, { name: "new" });
    await plugin.hears("PostStartContainer", "kept", "new");
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  });
});
