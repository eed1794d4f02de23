// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import {
  NamespaceMode,
  PodSandboxState,
  SecurityProfile_ProfileType,
} from "../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerInfo,
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  exited,
  nginx,
  pausePid,
  runSandbox,
  sandboxInfo,
  sandboxStatus,
  shellIn,
} from "./harness/pods.ts";
import { namespaceOf, procText, statusField } from "./harness/proc.ts";
import {
  createMapped,
  firstId,
  mapping,
  ownerOf,
  runMapped,
  runMappedSandbox,
} from "./harness/user-namespace.ts";

const fixture = useDaemon();
let sandboxId: string;
let pause: number;
let shell: string;
let pid: number;

beforeAll(async () => {
  const { daemon } = fixture;
  sandboxId = await runMappedSandbox(daemon, "mapped");
  pause = await pausePid(daemon, sandboxId);
  shell = await runMapped(daemon, sandboxId, { name: "shell" });
  pid = await containerPid(daemon, shell);
});

const idMap = /^\s*0\s+1000\s+100000$/;

test("the daemon says that pods can have user namespaces", async () => {
  const { runtimeHandlers, features } = await fixture.daemon.api.status({});
  expect(runtimeHandlers.map((handler) => handler.features?.userNamespaces)).toEqual([true, true]);
  expect(features?.userNamespacesHostNetwork).toBe(true);
});

test("inside, the ids of the request are mapped, and groups may be set", async () => {
  for (const map of ["uid_map", "gid_map"]) {
    expect(await shellIn(fixture.daemon, shell, `cat /proc/self/${map}`)).toMatch(idMap);
    expect(procText(`/proc/${pause}/${map}`).trimEnd()).toMatch(idMap);
  }
  expect(await shellIn(fixture.daemon, shell, "cat /proc/self/setgroups")).toBe("allow");
});

test("root inside is an unprivileged user of the host, and so is the pause", async () => {
  expect(await shellIn(fixture.daemon, shell, "id -u; id -g; id -G")).toBe("0\n0\n0");
  expect(statusField(pid, "Uid").split("\t")).toEqual(Array(4).fill(String(firstId)));
  expect(statusField(pid, "Gid").split("\t")).toEqual(Array(4).fill(String(firstId)));
  expect(statusField(pid, "Groups").trim()).toBe(String(firstId));
  expect(statusField(pause, "Uid").split("\t")).toEqual(Array(4).fill(String(firstId + 65_535)));
});

test("pause and containers share one user namespace, to which all their other namespaces belong", () => {
  const own = namespaceOf(pause, "user");
  expect(own).not.toBe(namespaceOf("self", "user"));
  expect(namespaceOf(pid, "user")).toBe(own);
  for (const kind of ["net", "ipc", "uts", "mnt"] as const) expect(ownerOf(pause, kind)).toBe(own);
  for (const kind of ["net", "ipc", "uts", "mnt", "pid", "cgroup"] as const) {
    expect([kind, ownerOf(pid, kind)]).toEqual([kind, own]);
  }
  expect(namespaceOf(pid, "net")).toBe(namespaceOf(pause, "net"));
});

test("capabilities are those of the namespace: all of them where they are asked for", async () => {
  const { daemon } = fixture;
  // The default AppArmor profile lets nobody mount.
  const security = {
    capabilities: { addCapabilities: ["ALL"] },
    apparmor: { profileType: SecurityProfile_ProfileType.Unconfined },
  };
  const id = await runMapped(daemon, sandboxId, { name: "capable", security });
  const all = (1n << 41n) - 1n; // CAP_LAST_CAP, linux/capability.h
  for (const set of ["CapPrm", "CapEff", "CapBnd"]) {
    expect(BigInt(`0x${statusField(await containerPid(daemon, id), set)}`)).toBe(all);
  }
  expect(await shellIn(daemon, id, "mount -t tmpfs none /tmp && ip link set lo down && echo done")).toBe(
    "done",
  );
  const { stderr } = await execIn(daemon, shell, "mount", "-t", "tmpfs", "none", "/tmp");
  expect(stderr).toContain("denied");
  const dropped = { capabilities: { dropCapabilities: ["ALL"] } };
  const none = await runMapped(daemon, sandboxId, { name: "incapable", security: dropped });
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    expect(statusField(await containerPid(daemon, none), set)).toMatch(/^0+$/);
  }
});

test("a container is the user that was asked for, and its execs are too", async () => {
  const { daemon } = fixture;
  const security = {
    runAsUser: { value: 1002n },
    runAsGroup: { value: 1003n },
    supplementalGroups: [20_000n],
  };
  const id = await runMapped(daemon, sandboxId, { name: "user", security });
  const ids = (uid: number) => [uid, uid, uid, uid].join("\t");
  expect(statusField(await containerPid(daemon, id), "Uid")).toBe(ids(firstId + 1002));
  expect(statusField(await containerPid(daemon, id), "Gid")).toBe(ids(firstId + 1003));
  expect(await shellIn(daemon, id, "id -u; id -g; id -G")).toBe("1002\n1003\n1003 20000");
  expect(await shellIn(daemon, id, "readlink /proc/self/ns/user")).toBe(`user:[${namespaceOf(pid, "user")}]`);
  expect((await containerStatus(daemon, id)).user?.linux?.uid).toBe(1002n);
});

test("root may become another user, and a setuid program makes root of that one", async () => {
  const { daemon } = fixture;
  expect(await shellIn(daemon, shell, "su -s /bin/sh www-data -c 'id -u; id -G'")).toBe("33\n33");
  const image = { image: "registry.k8s.io/e2e-test-images/nonewprivs:1.3" };
  const security = { runAsUser: { value: 1000n } };
  const config = { image, command: ["sleep", "3600"], security };
  const id = await runMapped(daemon, sandboxId, { ...config, name: "setuid" });
  expect(await shellIn(daemon, id, "/nnp")).toBe("Effective uid: 0");
  const confined = { ...config, security: { ...security, noNewPrivs: true }, name: "no-new-privs" };
  expect(await shellIn(daemon, await runMapped(daemon, sandboxId, confined), "/nnp")).toBe(
    "Effective uid: 1000",
  );
});

test("an exec ends with its own code, without a program or at its time limit", async () => {
  const { daemon } = fixture;
  expect((await execIn(daemon, shell, "sh", "-c", "exit 7")).code).toBe(7);
  expect(await execIn(daemon, shell, "/no/such/program")).toMatchObject({ code: 127 });
  const late = daemon.api.execSync({ containerId: shell, cmd: ["sleep", "4711"], timeout: 1n });
  expect(late).rejects.toThrow(/deadline_exceeded/);
  await late.catch(() => {});
  expect(await shellIn(daemon, shell, "grep -l 471[1] /proc/[0-9]*/cmdline; true")).toBe("");
});

test("the namespace is told in the status, and the mappings in the verbose one", async () => {
  const { daemon } = fixture;
  const status = await sandboxStatus(daemon, sandboxId);
  expect(status.linux?.namespaces?.options?.usernsOptions).toMatchObject({ uids: mapping, gids: mapping });
  const ranges = [{ containerID: 0, hostID: firstId, size: 100_000 }];
  for (const info of [await sandboxInfo(daemon, sandboxId), await containerInfo(daemon, shell)]) {
    const { linux } = info["runtimeSpec"] as { linux: { namespaces: { type: string; path?: string }[] } };
    expect(linux).toMatchObject({ uidMappings: ranges, gidMappings: ranges });
    expect(linux.namespaces).toContainEqual({ type: "user", path: `/proc/${pause}/ns/user` });
  }
});

test("kernel parameters of the pod's are set, and the host's are out of reach", async () => {
  const { daemon } = fixture;
  const sysctls = { "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "net.core.somaxconn": "77" };
  const id = await runMappedSandbox(daemon, "sysctls", {}, { linux: { sysctls } });
  const security = { capabilities: { addCapabilities: ["ALL"] } };
  const shellId = await runMapped(daemon, id, { name: "shell", security });
  const files = Object.keys(sysctls).map((name) => `/proc/sys/${name.replaceAll(".", "/")}`);
  expect(await shellIn(daemon, shellId, `cat ${files.join(" ")}`)).toBe("1\n1\n77");
  expect(await shellIn(daemon, shellId, "cat /proc/sys/net/ipv4/ping_group_range")).toMatch(/^0\s99999$/);
  const core = await execIn(daemon, shellId, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern");
  expect(core.stderr).toContain("Permission denied");
});

test("processes are shared with the pod or with a target as without a user namespace", async () => {
  const { daemon } = fixture;
  const modes = { pid: NamespaceMode.POD };
  const shared = await runMappedSandbox(daemon, "shared", modes);
  const sharedPause = await pausePid(daemon, shared);
  expect(ownerOf(sharedPause, "pid")).toBe(namespaceOf(sharedPause, "user"));
  const first = await runMapped(daemon, shared, { name: "first", modes });
  expect(await shellIn(daemon, first, "cat /proc/1/comm; test $$ != 1")).toBe("pause");
  const ended = await runMapped(daemon, shared, { name: "ended", modes, command: ["sh", "-c", "exit 3"] });
  expect((await exited(daemon, ended)).exitCode).toBe(3);
  const target = { pid: NamespaceMode.TARGET, targetId: shell };
  const beside = await runMapped(daemon, sandboxId, { name: "beside", modes: target });
  expect(namespaceOf(await containerPid(daemon, beside), "pid")).toBe(namespaceOf(pid, "pid"));
  expect(await shellIn(daemon, beside, "cat /proc/1/cmdline | tr '\\0' ' '")).toBe("sleep 3600 ");
});

test("a server in such a pod is reached at the pod's address and through a host port", async () => {
  const { daemon } = fixture;
  const portMappings = [{ containerPort: 80, hostPort: 12_347 }];
  const id = await runMappedSandbox(daemon, "web", {}, { portMappings });
  await runMapped(daemon, id, { name: "nginx", image: { image: nginx }, command: [] });
  const ip = (await sandboxStatus(daemon, id)).network?.ip;
  for (const host of [ip, "127.0.0.1:12347"]) {
    const page = () => fetch(`http://${host}/`, { signal: AbortSignal.timeout(2000) });
    const text = await eventually(`nginx answers at ${host}`, async () => (await page()).text());
    expect(text).toContain("Welcome to nginx!");
  }
  const shellId = await runMapped(daemon, id, { name: "shell" });
  expect(await shellIn(daemon, shellId, "ping -c 1 -w 5 127.0.0.1 > /dev/null; echo $?")).toBe("0");
});

test("such a pod may have the host's network, over which it has no power", async () => {
  const { daemon } = fixture;
  const modes = { network: NamespaceMode.NODE };
  const id = await runMappedSandbox(daemon, "host-network", modes);
  const security = { capabilities: { addCapabilities: ["ALL"] } };
  const shellId = await runMapped(daemon, id, { name: "shell", modes, security });
  const shellPid = await containerPid(daemon, shellId);
  expect(namespaceOf(shellPid, "net")).toBe(namespaceOf("self", "net"));
  expect(namespaceOf(shellPid, "user")).not.toBe(namespaceOf("self", "user"));
  expect(await shellIn(daemon, shellId, "test -d /sys/class/net/lo && ls /sys/fs/cgroup | wc -l")).not.toBe(
    "0",
  );
  expect((await execIn(daemon, shellId, "ip", "link", "set", "lo", "down")).stderr).toContain(
    "not permitted",
  );
  expect((await execIn(daemon, shellId, "touch", "/sys/x")).code).not.toBe(0);
});

test("a container must ask for its pod's namespace, and an image's user must be mapped", async () => {
  const { daemon } = fixture;
  const field =
    "config.linux.security_context.namespace_options.userns_options: must be as the sandbox has it";
  expect(createContainer(daemon, sandboxId, { name: "unmapped" })).rejects.toThrow(field);
  const plain = await runSandbox(daemon, "plain");
  expect(createMapped(daemon, plain, { name: "too-mapped" })).rejects.toThrow(field);
  const short = [{ containerId: 0, hostId: 1000, length: 1000 }];
  const usernsOptions = { mode: NamespaceMode.POD, uids: short, gids: short };
  const linux = { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions } } };
  const id = await runSandbox(daemon, "short", { linux });
  const image = { image: "gcr.io/k8s-staging-cri-tools/test-image-user-uid" };
  const create = createContainer(daemon, id, { name: "user-1002", image, linux });
  expect(create).rejects.toThrow(/user 1002 of its image is not mapped/);
  await create.catch(() => {});
});

test("a daemon that is killed while such pods are made leaves nothing of them", async () => {
  const { daemon } = fixture;
  for (let round = 0; round < 8; round++) {
    const making = runMappedSandbox(daemon, `killed-${round}`)
      .then((id) => runMapped(daemon, id, { name: "app" }))
      .catch(() => {});
    await Bun.sleep(round * 4);
    await daemon.kill();
    await making;
    await daemon.start();
    const { items } = await daemon.api.listPodSandbox({});
    for (const { id, metadata } of items) {
      if (metadata?.name.startsWith("killed-")) await daemon.api.removePodSandbox({ podSandboxId: id });
    }
  }
  const { items } = await daemon.api.listPodSandbox({});
  expect(items.filter(({ metadata }) => metadata?.name.startsWith("killed-"))).toEqual([]);
  // What is left of processes, mounts and files would be found when the daemon is closed.
  expect(await shellIn(daemon, shell, "id -u")).toBe("0");
});

test("pods outlive the daemon, and are taken up, used, stopped and removed by the next", async () => {
  const { daemon } = fixture;
  const created = await createMapped(daemon, sandboxId, { name: "later" });
  await daemon.kill();
  await daemon.start();
  expect(await shellIn(daemon, shell, "id -u; cat /proc/self/uid_map")).toMatch(/^0\n\s*0\s+1000\s+100000$/);
  await daemon.api.startContainer({ containerId: created });
  expect(statusField(await containerPid(daemon, created), "Uid")).toStartWith(String(firstId));
  expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
  await daemon.api.stopContainer({ containerId: created, timeout: 0n });
  expect((await exited(daemon, created)).exitCode).toBe(137);
  await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
  expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  expect(procText(`/proc/${pause}/status`)).toBe("");
});
