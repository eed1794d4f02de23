// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  sandboxStatus,
  shellIn,
} from "./harness/pods.ts";
import { type NamespaceKind, namespaceOf } from "./harness/proc.ts";

const fixture = useDaemon();
const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;
const kinds = ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user"] as const;

interface PodUnderTest {
  readonly sandboxId: string;
  readonly containers: readonly string[];
  readonly pause: number;
  readonly first: number;
  readonly second: number;
}

/** A pod of two containers, all with the same namespace options. */
async function runPair(name: string, namespaceOptions: Record<string, NamespaceMode>): Promise<PodUnderTest> {
  const { daemon } = fixture;
  const security = { linux: { securityContext: { namespaceOptions } } };
  const sandboxId = await runSandbox(daemon, name, security);
  const containers = [
    await runContainer(daemon, sandboxId, { name: "first", ...security }),
    await runContainer(daemon, sandboxId, { name: "second", ...security }),
  ];
  const [first, second] = await Promise.all(containers.map((id) => containerPid(daemon, id)));
  return { sandboxId, containers, pause: await pausePid(daemon, sandboxId), first: first!, second: second! };
}

type Owner = "pod" | "container" | "host";

/** Whose the namespace of a pod's containers is, as the kernel shows it from outside. */
function ownerOf(kind: NamespaceKind, { pause, first, second }: PodUnderTest): Owner | string {
  const [a, b, p] = [first, second, pause].map((pid) => namespaceOf(pid, kind));
  const host = namespaceOf("self", kind);
  if (a === "" || b === "") return "unreadable";
  if (a === host && b === host) return "host";
  if (a === b && a === p) return "pod";
  return a !== b && a !== p && a !== host && b !== host ? "container" : `${a} ${b} pause ${p} host ${host}`;
}

function owners(pod: PodUnderTest): Record<string, string> {
  return Object.fromEntries(kinds.map((kind) => [kind, ownerOf(kind, pod)]));
}

const perContainer = { mnt: "container", cgroup: "container", user: "host" };

test("by default a pod shares net, ipc and uts, and each container has its own pid, mnt and cgroup", async () => {
  const pod = await runPair("default", { network: POD, ipc: POD, pid: CONTAINER });
  expect(owners(pod)).toEqual({ net: "pod", ipc: "pod", uts: "pod", pid: "container", ...perContainer });
});

test("with a shared process namespace the pid namespace is the pause's", async () => {
  const pod = await runPair("shared", { network: POD, ipc: POD, pid: POD });
  expect(owners(pod)).toEqual({ net: "pod", ipc: "pod", uts: "pod", pid: "pod", ...perContainer });
});

test("host options give the machine's net, ipc, uts and pid namespaces", async () => {
  const pod = await runPair("host", { network: NODE, ipc: NODE, pid: NODE });
  expect(owners(pod)).toEqual({ net: "host", ipc: "host", uts: "host", pid: "host", ...perContainer });
  const status = await sandboxStatus(fixture.daemon, pod.sandboxId);
  expect(status.network?.ip ?? "").toBe("");
  expect(status.linux?.namespaces?.options).toMatchObject({ network: NODE, ipc: NODE, pid: NODE });
});

test("a container that says nothing, or asks for the pod's processes, shares them with the pause", async () => {
  const { daemon } = fixture;
  for (const [name, ofSandbox] of Object.entries({ silent: {}, separate: { pid: CONTAINER } })) {
    const linux = { securityContext: { namespaceOptions: ofSandbox } };
    const sandboxId = await runSandbox(daemon, name, { linux });
    const pause = await pausePid(daemon, sandboxId);
    const asked = { securityContext: { namespaceOptions: { pid: POD } } };
    for (const [index, linux] of [{}, asked].entries()) {
      const id = await runContainer(daemon, sandboxId, { name: `app-${index}`, linux });
      const own = namespaceOf(await containerPid(daemon, id), "pid");
      expect(own).toBe(namespaceOf(pause, "pid"));
      expect(own).not.toBe(namespaceOf("self", "pid"));
    }
  }
});

test("a container can join the process namespace of another one", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "target");
  const targetId = await runContainer(daemon, sandboxId, { name: "app" });
  const linux = { securityContext: { namespaceOptions: { pid: TARGET, targetId } } };
  const debuggerId = await runContainer(daemon, sandboxId, { name: "debugger", linux });
  const [app, debuggerPid] = await Promise.all([targetId, debuggerId].map((id) => containerPid(daemon, id)));
  expect(namespaceOf(debuggerPid!, "pid")).toBe(namespaceOf(app!, "pid"));
  expect(namespaceOf(debuggerPid!, "mnt")).not.toBe(namespaceOf(app!, "mnt"));
  expect(await shellIn(daemon, debuggerId, "ps -o args")).toContain("sleep 3600");
});

test("an executed command is in every namespace of its container", async () => {
  const { daemon } = fixture;
  const pod = await runPair("exec", { network: POD, ipc: POD, pid: CONTAINER });
  const listing = await shellIn(daemon, pod.containers[0]!, "ls -l /proc/self/ns");
  for (const kind of kinds) expect(listing).toContain(`${kind}:[${namespaceOf(pod.first, kind)}]`);
});

test("lsns and nsenter on the host agree", async () => {
  const { daemon } = fixture;
  const pod = await runPair("tools", { network: POD, ipc: POD, pid: CONTAINER });
  const columns = ["-J", "-o", "NS,TYPE,NPROCS", "-p", String(pod.first)];
  const { namespaces } = JSON.parse(await outputOf("lsns", columns)) as {
    namespaces: { ns: number; type: string; nprocs: number }[];
  };
  const processes = Object.fromEntries(namespaces.map(({ type, nprocs }) => [type, nprocs]));
  // pause and both applications; the application alone.
  expect(processes).toMatchObject({ net: 3, ipc: 3, uts: 3, pid: 1, mnt: 1 });

  const { network } = await sandboxStatus(daemon, pod.sandboxId);
  const enter = (...args: string[]) => outputOf("nsenter", ["-t", String(pod.first), ...args]);
  expect(await enter("-n", "ip", "-o", "-4", "addr", "show", "eth0")).toContain(`${network?.ip}/`);
  expect((await enter("-u", "hostname")).trim()).toBe(await shellIn(daemon, pod.containers[0]!, "hostname"));
  const pids = await enter("-m", "-p", "/bin/ps", "-o", "args");
  expect(pids).toContain("sleep 3600");
});

test("a pod's network namespace is pinned, so that it outlives the pause", async () => {
  const { daemon } = fixture;
  const pod = await runPair("pinned", { network: POD, ipc: POD, pid: CONTAINER });
  const pins = await outputOf("findmnt", ["-t", "nsfs", "-n", "-o", "TARGET,SOURCE"]);
  const pin = pins.split("\n").find((line) => line.includes(`[${namespaceOf(pod.pause, "net")}]`));
  expect(pin).toContain(daemon.root);
  expect((await execIn(daemon, pod.containers[1]!, "true")).code).toBe(0);
});

test("a container may not ask for the host's network or IPC in a pod that has its own", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "own-namespaces");
  for (const field of ["network", "ipc"]) {
    const security = { linux: { securityContext: { namespaceOptions: { [field]: NODE } } } };
    await expect(runContainer(daemon, sandboxId, { name: field, ...security })).rejects.toThrow(
      `config.linux.security_context.namespace_options.${field}: must not be NODE`,
    );
  }
  expect(
    (await daemon.api.listContainers({})).containers.filter((c) => c.podSandboxId === sandboxId),
  ).toEqual([]);
});
