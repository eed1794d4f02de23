// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { SecurityProfile_ProfileType, SupplementalGroupsPolicy } from "../../src/gen/runtime/v1/api_pb.ts";
import { weightOfShares } from "../../src/linux/cgroup/cpu.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { cgroupOf, limitsIn } from "./harness/limits.ts";
import {
  containerPid,
  containerStatus,
  execIn,
  exited,
  runContainer,
  runSandbox,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { procText, statusField } from "./harness/proc.ts";

const fixture = useDaemon();
const staging = "gcr.io/k8s-staging-cri-tools";
let sandboxId: string;
let counter = 0;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "security");
});

function run(context: SecurityContext, image?: string): Promise<string> {
  const name = `container-${counter++}`;
  return runContainer(fixture.daemon, sandboxId, {
    name,
    ...(image === undefined ? {} : { image: { image } }),
    ...secured(context),
  });
}

async function pidOf(context: SecurityContext): Promise<number> {
  return containerPid(fixture.daemon, await run(context));
}

const bit = (...numbers: number[]) => numbers.reduce((mask, number) => mask | (1n << BigInt(number)), 0n);
// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD
// AUDIT_WRITE SETFCAP (linux/capability.h)
const defaultCapabilities = bit(0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31);
const netAdmin = bit(12);

function capabilities(pid: number): Record<string, bigint> {
  const sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
  return Object.fromEntries(sets.map((set) => [set, BigInt(`0x${statusField(pid, set)}`)]));
}

test("root in a container has the default capabilities, none of them inheritable or ambient", async () => {
  const set = defaultCapabilities;
  expect(capabilities(await pidOf({}))).toEqual({
    CapInh: 0n,
    CapPrm: set,
    CapEff: set,
    CapBnd: set,
    CapAmb: 0n,
  });
});

test("capabilities are added and dropped, ALL first", async () => {
  const added = await pidOf({ capabilities: { addCapabilities: ["net_admin"] } });
  expect(capabilities(added)["CapEff"]).toBe(defaultCapabilities | netAdmin);
  const dropped = await pidOf({ capabilities: { dropCapabilities: ["ALL"] } });
  expect(capabilities(dropped)).toEqual({ CapInh: 0n, CapPrm: 0n, CapEff: 0n, CapBnd: 0n, CapAmb: 0n });
  const one = await pidOf({ capabilities: { addCapabilities: ["CHOWN"], dropCapabilities: ["ALL"] } });
  expect(capabilities(one)["CapBnd"]).toBe(bit(0));
  const own = capabilities(fixture.daemon.pid())["CapPrm"]!;
  const all = await pidOf({ capabilities: { addCapabilities: ["ALL"] } });
  expect(capabilities(all)["CapEff"]).toBe(own);
});

test("a user without root's id has no effective capability", async () => {
  const pid = await pidOf({ runAsUser: { value: 1000n } });
  expect(capabilities(pid)["CapEff"]).toBe(0n);
  expect(capabilities(pid)["CapBnd"]).toBe(defaultCapabilities);
});

test("the user comes from the request, else from the image, and status and executed commands agree", async () => {
  const { daemon } = fixture;
  const cases: readonly (readonly [SecurityContext, string | undefined, string])[] = [
    [{}, undefined, "uid=0(root) gid=0(root) groups=0(root)"],
    [{}, `${staging}/test-image-user-uid`, "uid=1002 gid=0(root) groups=0(root)"],
    [{}, `${staging}/test-image-user-username`, "uid=33(www-data) gid=33(www-data) groups=33(www-data)"],
    [{}, `${staging}/test-image-user-uid-group`, "uid=1003 gid=1004 groups=1004"],
    [{}, `${staging}/test-image-user-username-group`, "uid=33(www-data) gid=1004 groups=1004"],
    [
      { runAsUser: { value: 1000n } },
      undefined,
      "uid=1000(default-user) gid=1000(default-user) groups=1000(default-user),50000(extra)",
    ],
    [{ runAsUser: { value: 5n }, runAsGroup: { value: 6n } }, undefined, "uid=5 gid=6 groups=6"],
    [{ runAsUsername: "www-data" }, undefined, "uid=33(www-data) gid=33(www-data) groups=33(www-data)"],
  ];
  for (const [context, image, expected] of cases) {
    const id = await run(context, image);
    const said = await shellIn(daemon, id, "id");
    expect(said).toBe(expected);
    const pid = await containerPid(daemon, id);
    const uid = /uid=(\d+)/.exec(expected)![1]!;
    expect(statusField(pid, "Uid").split("\t")).toEqual([uid, uid, uid, uid]);
    expect((await containerStatus(daemon, id)).user?.linux?.uid).toBe(BigInt(uid));
  }
});

test("supplemental groups are merged with the image's or used alone", async () => {
  const { daemon } = fixture;
  const image = `${staging}/test-image-predefined-group`;
  const groups = { runAsUser: { value: 1000n }, supplementalGroups: [1234n] };
  const merged = await run(groups, image);
  expect(await shellIn(daemon, merged, "id -G")).toBe("1000 1234 50000");
  const strict = await run({ ...groups, supplementalGroupsPolicy: SupplementalGroupsPolicy.Strict }, image);
  expect(await shellIn(daemon, strict, "id -G")).toBe("1000 1234");
  expect((await containerStatus(daemon, strict)).user?.linux?.supplementalGroups).toEqual([1000n, 1234n]);
});

test("a read-only root refuses writes, and mounts and /dev/shm stay writable", async () => {
  const { daemon } = fixture;
  const id = await run({ readonlyRootfs: true });
  const write = await execIn(daemon, id, "sh", "-c", "echo x > /written");
  expect(write.code).not.toBe(0);
  expect(write.stderr).toContain("Read-only file system");
  expect((await execIn(daemon, id, "sh", "-c", "echo x > /dev/shm/written")).code).toBe(0);
  expect((await execIn(daemon, await run({}), "sh", "-c", "echo x > /written")).code).toBe(0);
});

test("no new privileges takes the effect from a setuid program", async () => {
  const { daemon } = fixture;
  const config = (noNewPrivs: boolean) => ({
    name: `nnp-${noNewPrivs}`,
    image: { image: "registry.k8s.io/e2e-test-images/nonewprivs:1.3" },
    command: ["sleep", "3600"],
    ...secured({ noNewPrivs, runAsUser: { value: 1000n } }),
  });
  const [locked, open] = [
    await runContainer(daemon, sandboxId, config(true)),
    await runContainer(daemon, sandboxId, config(false)),
  ];
  expect((await execIn(daemon, locked, "/nnp")).stdout).toBe("Effective uid: 1000\n");
  expect((await execIn(daemon, open, "/nnp")).stdout).toBe("Effective uid: 0\n");
  expect(statusField(await containerPid(daemon, locked), "NoNewPrivs")).toBe("1");
  expect(statusField(await containerPid(daemon, open), "NoNewPrivs")).toBe("0");
});

test("seccomp filters by default as asked, and the filter refuses what it should", async () => {
  const { daemon } = fixture;
  const { RuntimeDefault, Unconfined } = SecurityProfile_ProfileType;
  const filtered = await run({ seccomp: { profileType: RuntimeDefault } });
  expect(statusField(await containerPid(daemon, filtered), "Seccomp")).toBe("2");
  const unshare = await execIn(daemon, filtered, "unshare", "-U", "true");
  expect(unshare.code).not.toBe(0);
  expect(unshare.stderr).toContain("Operation not permitted");
  expect(await shellIn(daemon, filtered, "grep Seccomp: /proc/self/status")).toMatch(/2$/);
  const open = await run({ seccomp: { profileType: Unconfined } });
  expect(statusField(await containerPid(daemon, open), "Seccomp")).toBe("0");
  expect((await execIn(daemon, open, "unshare", "-U", "true")).code).toBe(0);
});

test("masked paths are empty and read-only paths refuse writes", async () => {
  const { daemon } = fixture;
  const id = await run({
    maskedPaths: ["/proc/timer_list", "/sys/firmware", "/no/such/path"],
    readonlyPaths: ["/proc/sys", "/proc/sysrq-trigger"],
  });
  expect(await shellIn(daemon, id, "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l")).toBe("0\n0");
  expect(await shellIn(daemon, id, "stat -c %t,%T /proc/timer_list")).toBe("1,3");
  const write = await execIn(daemon, id, "sh", "-c", "echo 1 > /proc/sys/vm/swappiness");
  expect(write.stderr).toContain("Read-only file system");
});

test("a privileged container has all that the daemon may, and sees the machine's devices", async () => {
  const { daemon } = fixture;
  const privileged = await runSandbox(daemon, "privileged", {
    linux: { securityContext: { privileged: true, namespaceOptions: { pid: 1 } } },
  });
  const id = await runContainer(daemon, privileged, { name: "all", ...secured({ privileged: true }) });
  const pid = await containerPid(daemon, id);
  expect(capabilities(pid)["CapEff"]).toBe(capabilities(daemon.pid())["CapPrm"]!);
  expect(statusField(pid, "Seccomp")).toBe("0");
  expect((await execIn(daemon, id, "ip", "link", "add", "br-test", "type", "bridge")).code).toBe(0);
  expect(await shellIn(daemon, id, "ls /dev | wc -l").then(Number)).toBeGreaterThan(20);
  const plain = await run({ capabilities: { addCapabilities: [] } });
  expect((await execIn(daemon, plain, "ip", "link", "add", "br-test", "type", "bridge")).code).not.toBe(0);
});

test("only the usual devices are there, and a device that was not given cannot be used", async () => {
  const { daemon } = fixture;
  const id = await run({});
  for (const name of ["null", "zero", "full", "random", "urandom", "tty"]) {
    expect((await execIn(daemon, id, "test", "-c", `/dev/${name}`)).code).toBe(0);
  }
  // The kernel's log device: character device 1:11.
  const made = await execIn(daemon, id, "sh", "-c", "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg");
  expect(made.code).not.toBe(0);
  expect(made.stderr).toContain("Operation not permitted");
});

test("limits reach the cgroup, and what uses more memory is killed and says so", async () => {
  const { daemon } = fixture;
  const resources = {
    memoryLimitInBytes: 32n << 20n,
    cpuShares: 512n,
    cpuQuota: 50_000n,
    cpuPeriod: 100_000n,
  };
  const limited = await runContainer(daemon, sandboxId, { name: "limited", linux: { resources } });
  const pid = await containerPid(daemon, limited);
  expect(limitsIn((controller) => cgroupOf(pid, controller))).toMatchObject({
    memory: 32 << 20,
    weight: weightOfShares(512),
    quota: 50_000,
    period: 100_000,
  });
  expect((await containerStatus(daemon, limited)).resources?.linux?.cpuShares).toBe(512n);

  const greedy = await runContainer(daemon, sandboxId, {
    name: "greedy",
    command: ["sh", "-c", "tail /dev/zero"],
    linux: { resources },
  });
  await exited(daemon, greedy, 30_000);
  const status = await eventually("the reason is known", async () => {
    const now = await containerStatus(daemon, greedy);
    return now.reason === "OOMKilled" ? now : undefined;
  });
  expect(status.exitCode).toBe(137);
  expect((await daemon.podrt("debug", "dump")).stdout).toMatch(/"podrt_containers_oom_total [1-9]/);
});

test("a container that asks for no oom score has 0, whatever the daemon's own is", async () => {
  const { daemon } = fixture;
  const file = `/proc/${daemon.pid()}/oom_score_adj`;
  const own = procText(file).trim();
  writeFileSync(file, "300");
  try {
    // The monitor inherits it.
    const pod = await runSandbox(daemon, "oom-score");
    const id = await runContainer(daemon, pod, { name: "unasked" });
    expect(procText(`/proc/${await containerPid(daemon, id)}/oom_score_adj`).trim()).toBe("0");
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  } finally {
    writeFileSync(file, own);
  }
});

test("the oom score is set as asked, within what the daemon may", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, sandboxId, {
    name: "oom",
    linux: { resources: { oomScoreAdj: 500n } },
  });
  expect(procText(`/proc/${await containerPid(daemon, id)}/oom_score_adj`).trim()).toBe("500");
});
