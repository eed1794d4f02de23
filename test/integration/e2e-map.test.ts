// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, demoPod, runDetached, runningPod, sharedNamespaceDemo } from "./harness/manifests.ts";
import { containerPid, pausePid, runContainer, runSandbox, secured } from "./harness/pods.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";

const fixture = useDaemon();

interface Mapped {
  readonly machine: { readonly pid: number; readonly namespaces: Readonly<Record<string, number>> };
  readonly pods: readonly {
    readonly name: string;
    readonly isReady: boolean;
    readonly monitor: { readonly pid: number; readonly namespaces: Readonly<Record<string, number>> };
    readonly processes: readonly {
      readonly name: string;
      readonly state: string;
      readonly pid: number;
      readonly namespaces: Readonly<Record<string, number>>;
    }[];
    readonly namespaces: readonly {
      readonly kind: string;
      readonly inode: number;
      readonly owner: string;
      readonly processes: readonly string[];
    }[];
  }[];
}

async function mapOf(...names: string[]): Promise<Mapped> {
  const { code, stdout, stderr } = await fixture.daemon.podrt("map", ...names, "-o", "json");
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Mapped;
}

/** What the kernel says, without podrt between. */
function inodeOf(pid: number, kind: string): number {
  return Number(/\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/ns/${kind}`))![1]);
}

/** Who shares a kind of namespace with whom, as in `pod: pause app1 app2`. */
function groupsOf({ pods: [pod] }: Mapped, kind: string): string[] {
  return pod!.namespaces
    .filter((namespace) => namespace.kind === kind)
    .map(({ owner, processes }) => `${owner}: ${processes.join(" ")}`);
}

beforeAll(async () => {
  const { daemon } = fixture;
  await runDetached(daemon, demoPod);
  await runDetached(daemon, sharedNamespaceDemo);
  await runningPod(daemon, "demo-pod");
  await runningPod(daemon, "shared-namespace-demo");
});

test("the map of a pod is what the kernel says of its processes", async () => {
  const { daemon } = fixture;
  const mapped = await mapOf("demo-pod");
  const kept = await runningPod(daemon, "demo-pod");
  const pids = {
    pause: await pausePid(daemon, kept.sandboxId),
    app1: await containerPid(daemon, containerOf(kept, "app1").containerId),
    app2: await containerPid(daemon, containerOf(kept, "app2").containerId),
  };
  const [pod] = mapped.pods;
  expect(Object.fromEntries(pod!.processes.map(({ name, pid }) => [name, pid]))).toEqual(pids);
  for (const { pid, namespaces } of [mapped.machine, pod!.monitor, ...pod!.processes]) {
    for (const kind of ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user"]) {
      expect(namespaces[kind]).toBe(inodeOf(pid, kind));
    }
  }
  expect(mapped.machine.pid).toBe(daemon.pid());
  for (const kind of ["net", "ipc", "uts"]) expect(groupsOf(mapped, kind)).toEqual(["pod: pause app1 app2"]);
  for (const kind of ["pid", "mnt"]) {
    expect(groupsOf(mapped, kind)).toEqual(["process: pause", "process: app1", "process: app2"]);
  }
  expect(groupsOf(mapped, "user")).toEqual(["machine: pause app1 app2"]);
});

test("processes that a pod shares, and a network that is the machine's, are told as such", async () => {
  const { daemon } = fixture;
  const shared = await mapOf("shared-namespace-demo");
  const names = shared.pods[0]!.processes.map(({ name }) => name).join(" ");
  expect(groupsOf(shared, "pid")).toEqual([`pod: ${names}`]);

  const namespaceOptions = { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER };
  const sandbox = await runSandbox(daemon, "on-host", { linux: { securityContext: { namespaceOptions } } });
  await runContainer(daemon, sandbox, { name: "app", ...secured({ namespaceOptions } as never) });
  const onHost = await mapOf("on-host");
  expect(groupsOf(onHost, "net")).toEqual(["machine: pause app"]);
  expect(onHost.pods[0]!.namespaces.find(({ kind }) => kind === "net")?.inode).toBe(
    inodeOf(daemon.pid(), "net"),
  );
  expect(groupsOf(onHost, "ipc")).toEqual(["pod: pause app"]);
});

test("it is drawn on a terminal of any kind and as a picture, and without names it has all pods", async () => {
  const { daemon } = fixture;
  const unicode = await daemon.podrtWith({ env: { LC_ALL: "C.UTF-8" } }, "map", "demo-pod");
  expect(unicode.stdout).toMatch(/^┌─ pod demo-pod {2}ready {2}10\./);
  expect(unicode.stdout).toMatch(/│ pause +\d+ {2}● \d{5} {2}● \d{5} {2}● \d{5} {2}○ \d{5}/);
  expect(unicode.stdout).toContain("shared by all");
  const all = await daemon.podrtWith({ env: { LC_ALL: "C" } }, "map");
  expect(all.stdout).toMatch(/^[\n -~]*$/);
  for (const name of ["demo-pod", "shared-namespace-demo", "on-host"]) {
    expect(all.stdout).toContain(`+- pod ${name}  ready`);
  }
  const file = join(daemon.root, "map.svg");
  expect(await daemon.podrt("map", "demo-pod", "--svg", file)).toMatchObject({ code: 0, stdout: "" });
  const svg = readFileSync(file, "utf8");
  const { pods } = await mapOf("demo-pod");
  expect(svg).toContain(
    `net namespace ${pods[0]!.processes[0]!.namespaces["net"]}: pause, app1 and app2, shared`,
  );
});

// Needs tmux.
test.skipIf(!hasTmux)(
  "on a terminal that is narrow the numbers go first, then the names are cut",
  async () => {
    const { daemon } = fixture;
    await using screen = await openTmux({ width: 100, height: 30 });
    const command = `clear; LC_ALL=C.UTF-8 ${binary} map demo-pod --root ${daemon.root}; echo ended $?`;
    await screen.type(command);
    const wide = await screen.until("the map", (rows) => rows.includes("ended 0"));
    expect(wide.join("\n")).toMatch(/│ app2 +\d+ {2}● \d{5}/);
    await screen.resize(66, 30);
    await screen.type(command);
    const narrow = await screen.until(
      "it without numbers",
      (rows) => rows.includes("ended 0") && rows.some((row) => /│ app2 +\d+ {2}● {4}● {4}●/.test(row)),
    );
    const box = narrow.filter((row) => /^[│┌└]/.test(row));
    expect(new Set(box.map((row) => Bun.stringWidth(row))).size).toBe(1);
    expect(box.length).toBeGreaterThan(8);
  },
);

test("a container that ended has no namespaces, and one that was started again has others", async () => {
  const { daemon } = fixture;
  const sandbox = await runSandbox(daemon, "ending");
  const id = await runContainer(daemon, sandbox, { name: "app" });
  const before = (await mapOf("ending")).pods[0]!.processes[1]!;
  expect(before).toMatchObject({ state: "running" });
  process.kill(before.pid, "SIGKILL");
  const ended = await eventually("the container has ended", async () => {
    const [pod] = (await mapOf("ending")).pods;
    return pod!.processes[1]!.state === "exited" ? pod : undefined;
  });
  expect(ended.processes[1]).toMatchObject({ pid: 0, namespaces: {} });
  expect(ended.namespaces.find(({ kind }) => kind === "net")?.processes).toEqual(["pause"]);
  await daemon.api.removeContainer({ containerId: id });
  await runContainer(daemon, sandbox, { name: "app" });
  const after = (await mapOf("ending")).pods[0]!.processes[1]!;
  expect(after.pid).not.toBe(before.pid);
  expect(after.namespaces["net"]).toBe(before.namespaces["net"]!);

  process.kill(await pausePid(daemon, sandbox), "SIGKILL");
  const over = await eventually("the sandbox is over", async () => {
    const [pod] = (await mapOf("ending")).pods;
    return pod!.isReady ? undefined : pod;
  });
  expect(over.processes[0]).toMatchObject({ name: "pause", state: "gone", pid: 0 });
});
