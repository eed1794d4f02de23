// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  NamespaceMode,
  SecurityProfile_ProfileType as ProfileType,
} from "../../src/gen/runtime/v1/api_pb.ts";
import { SYS } from "../../src/linux/abi/syscall-numbers.ts";
import { buildSyscallProbe, probe, probeAnswers, probeWords } from "../fixtures/syscall-probe.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  type SandboxConfig,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { namespaceOf, procText, statusField } from "./harness/proc.ts";

const fixture = useDaemon();
let sandboxId: string;
let program: string;
let counter = 0;

beforeAll(async () => {
  const dir = join(fixture.daemon.root, "probe");
  mkdirSync(dir);
  program = buildSyscallProbe(dir);
  sandboxId = await runSandbox(fixture.daemon, "confinement");
});

function configOf(context: SecurityContext) {
  const mounts = [{ hostPath: program, containerPath: "/probe", readonly: true }];
  return { name: `container-${counter++}`, mounts, ...secured(context) };
}
const run = (context: SecurityContext) => runContainer(fixture.daemon, sandboxId, configOf(context));

const sandbox = (name: string, securityContext: object, more: object = {}) =>
  runSandbox(fixture.daemon, name, { linux: { securityContext, ...more } } as SandboxConfig);

const SETS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const NET_ADMIN = 1n << 12n;
const CHOWN = 1n;

/** The five sets of a process that is executed in the container. */
async function setsIn(id: string): Promise<bigint[]> {
  const status = await shellIn(fixture.daemon, id, "grep ^Cap /proc/self/status");
  return SETS.map((set) => BigInt(`0x${new RegExp(`${set}:\\s*(\\w+)`).exec(status)![1]}`));
}

const isHybrid = procText("/proc/self/mountinfo").includes(" - cgroup cgroup ");

// On cgroup v2 there is one mount, with its own test.
test.skipIf(!isHybrid)("a container sees its own cgroups and no others, read-only", async () => {
  const id = await run({});
  const inside = (script: string) => shellIn(fixture.daemon, id, script);
  const mount = /^\S+ \S+ \S+ (\S+) \/sys\/fs\/cgroup\/(?:pids|memory|unified) (\S+) /gm;
  const mounts = [...(await inside("cat /proc/self/mountinfo")).matchAll(mount)];
  expect(mounts).toHaveLength(3);
  for (const [, root, options] of mounts) {
    expect(root).toBe("/");
    expect(options!.split(",")).toEqual(expect.arrayContaining(["ro", "nosuid", "nodev", "noexec"]));
  }
  const [children, ...processes] = (
    await inside("cd /sys/fs/cgroup/pids; ls -d */ 2>&1 | wc -l; cat tasks")
  ).split("\n");
  expect([children, processes]).toEqual(["1", expect.arrayContaining(["1"])]);
  expect(await inside("ls -d /sys/fs/cgroup/pids/../*/ | grep -c podrt || true")).toBe("0");
  expect(await inside("mkdir /sys/fs/cgroup/pids/new 2>&1 || true")).toContain("Read-only file system");
});

test("ambient capabilities are what a user without root's id has after execve, and reach executed commands", async () => {
  const { daemon } = fixture;
  const capabilities = { dropCapabilities: ["ALL"], addAmbientCapabilities: ["NET_ADMIN"] };
  const id = await run({ runAsUser: { value: 1000n }, capabilities });
  const pid = await containerPid(daemon, id);
  const ofContainer = SETS.map((set) => BigInt(`0x${statusField(pid, set)}`));
  expect(ofContainer).toEqual(Array(5).fill(NET_ADMIN));
  expect(await setsIn(id)).toEqual(ofContainer);
  expect((await execIn(daemon, id, "ip", "link", "add", "br-amb", "type", "bridge")).code).toBe(0);
});

test("added capabilities are not inheritable, and executed commands have the container's sets", async () => {
  const { daemon } = fixture;
  const id = await run({
    capabilities: { dropCapabilities: ["all"], addCapabilities: ["cap_chown", "Net_Admin"] },
  });
  const pid = await containerPid(daemon, id);
  const granted = NET_ADMIN | CHOWN;
  const expected = [0n, granted, granted, granted, 0n];
  expect(SETS.map((set) => BigInt(`0x${statusField(pid, set)}`))).toEqual(expected);
  expect(await setsIn(id)).toEqual(expected);
});

test("an executed command has the user, groups, no_new_privs and filter of its container", async () => {
  const { daemon } = fixture;
  const id = await run({
    runAsUser: { value: 1000n },
    runAsGroup: { value: 3000n },
    supplementalGroups: [4000n, 2n ** 32n - 2n],
    noNewPrivs: true,
    seccomp: { profileType: ProfileType.RuntimeDefault },
  });
  const pid = await containerPid(daemon, id);
  const fields = ["Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapBnd"];
  const executed = await shellIn(daemon, id, `grep -E '^(${fields.join("|")}):' /proc/self/status`);
  for (const field of fields) expect(executed).toContain(`${field}:\t${statusField(pid, field)}`);
  expect(statusField(pid, "Groups").trim()).toBe("3000 4000 50000 4294967294");
  expect(statusField(pid, "NoNewPrivs")).toBe("1");
});

test("nobody in a container has the daemon's session keyring, nor another container's", async () => {
  const { daemon } = fixture;
  const KEYCTL_GET_KEYRING_ID = 0;
  const KEY_SPEC_SESSION_KEYRING = -3n & 0xffff_ffffn;
  const nr = SYS.keyctl;
  const ask = [{ nr, args: [KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0] }];
  const [ofHost] = probe(program, undefined, ask).answers;
  const ids = [await run({}), await run({})];
  const words = ["/probe", "-", "0", ...probeWords(ask)];
  const keyrings = await Promise.all(
    ids.map(async (id) => probeAnswers((await execIn(daemon, id, ...words)).stdout)[0]!),
  );
  const own = await runContainer(daemon, sandboxId, {
    ...configOf({}),
    command: ["sh", "-c", `${words.join(" ")} >/said; sleep 3600`],
  });
  keyrings.push(Number(await shellIn(daemon, own, "until [ -s /said ]; do sleep 0.02; done; cat /said")));
  for (const keyring of keyrings) expect(keyring).toBeGreaterThan(0);
  expect(new Set([ofHost, ...keyrings]).size).toBe(4);
});

test("a container does not join a target that has ended since it was created", async () => {
  const { daemon } = fixture;
  const targetId = await run({});
  const namespaceOptions = { pid: NamespaceMode.TARGET, targetId };
  const containerId = await createContainer(daemon, sandboxId, configOf({ namespaceOptions }));
  await daemon.api.stopContainer({ containerId: targetId, timeout: 0n });
  const failure = await daemon.api.startContainer({ containerId }).then(String, ConnectError.from);
  expect(failure).toMatchObject({
    code: Code.FailedPrecondition,
    message: expect.stringContaining(`container ${targetId}: it is not running`),
  });
  expect(await containerStatus(daemon, containerId)).toMatchObject({ exitCode: 128, reason: "StartError" });
});

test("a privileged container has the host's cgroup namespace, writable sys, all devices, and needs its sandbox's leave", async () => {
  const { daemon } = fixture;
  const id = await runContainer(
    daemon,
    await sandbox("privileged", { privileged: true }),
    configOf({ privileged: true }),
  );
  const pid = await containerPid(daemon, id);
  expect(namespaceOf(pid, "cgroup")).toBe(namespaceOf("self", "cgroup"));
  const options = (path: string) =>
    procText(`/proc/${pid}/mountinfo`)
      .split("\n")
      .map((line) => line.split(" "))
      .find((fields) => fields[4] === path)![5]!;
  expect(options("/sys")).toStartWith("rw,");
  expect(options("/proc")).toStartWith("rw,");
  expect(await shellIn(daemon, id, "stat -c %t,%T /dev/kmsg")).toBe("1,b");
  expect((await execIn(daemon, id, "sh", "-c", "mknod /tmp/kmsg c 1 11 && : </tmp/kmsg")).code).toBe(0);
  const plain = await run({});
  expect(namespaceOf(await containerPid(daemon, plain), "cgroup")).not.toBe(namespaceOf("self", "cgroup"));
  expect((await execIn(daemon, plain, "sh", "-c", "echo 1 > /sys/kernel/mm/ksm/run")).stderr).toContain(
    "Read-only file system",
  );
  const refused = await createContainer(daemon, sandboxId, configOf({ privileged: true })).catch(
    ConnectError.from,
  );
  expect(refused).toMatchObject({ code: Code.FailedPrecondition });
});

test("the pause has the user and groups that its pod names, and a root that nobody can write to", async () => {
  const { daemon } = fixture;
  const context = { runAsUser: { value: 1234n }, runAsGroup: { value: 5678n }, supplementalGroups: [9n, 8n] };
  const pid = await pausePid(daemon, await sandbox("named-user", { ...context, readonlyRootfs: true }));
  expect(statusField(pid, "Uid").split("\t")).toEqual(Array(4).fill("1234"));
  expect(statusField(pid, "Gid").split("\t")).toEqual(Array(4).fill("5678"));
  expect(statusField(pid, "Groups").trim()).toBe("8 9");
  for (const set of SETS) expect(BigInt(`0x${statusField(pid, set)}`)).toBe(0n);
  const plain = await pausePid(daemon, await sandbox("no-user", {}));
  for (const pause of [pid, plain]) {
    const root = procText(`/proc/${pause}/mountinfo`).trim().split("\n");
    expect(root).toHaveLength(1);
    expect(root[0]!.split(" ")[5]).toStartWith("ro,");
  }
  expect(statusField(plain, "Uid").split("\t")[0]).toBe("65535");
});

test("a pod's kernel parameters are set in its own namespaces, in either spelling, after the defaults", async () => {
  const { daemon } = fixture;
  const host = (name: string) => procText(`/proc/sys/${name}`).trim();
  const names = [
    "net/ipv4/ip_unprivileged_port_start",
    "net/core/somaxconn",
    "kernel/shmmni",
    "fs/mqueue/msg_max",
  ];
  const before = names.map(host);
  const own = await sandbox(
    "own",
    {},
    {
      sysctls: {
        "net.core.somaxconn": "77",
        "kernel/shmmni": "99",
        "fs.mqueue.msg_max": "11",
        "net/ipv4/conf/lo/forwarding": "1",
      },
    },
  );
  const id = await runContainer(daemon, own, { name: "reader" });
  const inside = (name: string) => shellIn(daemon, id, `cat /proc/sys/${name}`);
  expect(await Promise.all(names.map(inside))).toEqual(["0", "77", "99", "11"]);
  expect(await inside("net/ipv4/conf/lo/forwarding")).toBe("1");
  expect((await inside("net/ipv4/ping_group_range")).split(/\s+/)).toEqual(["0", "2147483647"]);
  expect(names.map(host)).toEqual(before);

  const changed = await sandbox("changed", {}, { sysctls: { "net.ipv4.ip_unprivileged_port_start": "99" } });
  const reader = await runContainer(daemon, changed, { name: "reader" });
  expect(await shellIn(daemon, reader, `cat /proc/sys/${names[0]}`)).toBe("99");
});

test("a user without capabilities may bind low ports and ping in a pod's own network", async () => {
  const { daemon } = fixture;
  const id = await run({ runAsUser: { value: 1000n }, capabilities: { dropCapabilities: ["ALL"] } });
  expect((await execIn(daemon, id, "timeout", "1", "nc", "-l", "-p", "80")).stderr).not.toContain("denied");
  const [AF_INET, SOCK_DGRAM, IPPROTO_ICMP] = [2, 2, 1];
  const ping = probeWords([{ nr: SYS.socket, args: [AF_INET, SOCK_DGRAM, IPPROTO_ICMP] }]);
  expect(probeAnswers((await execIn(daemon, id, "/probe", "-", "0", ...ping)).stdout)[0]).toBeGreaterThan(2);
});

test("a pod in the host's network sets nothing of the host's", async () => {
  const { daemon } = fixture;
  const name = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  const before = procText(name);
  const network = { namespaceOptions: { network: NamespaceMode.NODE } };
  const id = await runContainer(daemon, await sandbox("host-network", network), {
    name: "reader",
    linux: { securityContext: network },
  } as never);
  expect(`${await shellIn(daemon, id, `cat ${name}`)}\n`).toBe(before);
  expect(procText(name)).toBe(before);
});
