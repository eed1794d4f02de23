// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { sliceCgroup } from "../../src/systemd/unit-name.ts";
import { type FakeSystemd, startFakeSystemd } from "../fixtures/fake-systemd.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { patience } from "../support/patience.ts";
import { isV2 } from "./harness/cgroup-files.ts";
import { type CgroupV2View, cgroupV2View, removeGroups } from "./harness/cgroup-v2-view.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import {
  ensureImage,
  pausePid,
  runContainer,
  runSandbox,
  type SandboxConfig,
  shellIn,
} from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";

/*
 * The cgroup driver systemd on a bus with a made-up systemd, which does to cgroups what the real one does, or has
 * trouble. The real one is tested by e2e-systemd-cgroups.test.ts.
 */

setDefaultTimeout(120_000 * patience);
const slice = "kubepods-pod1.slice";
const driver = '[cgroup]\ndriver = "systemd"\n';

let view: CgroupV2View;
let fake: FakeSystemd;
let registry: Registry;
let daemon: Daemon;
/** Where systemd puts scopes; as one that does not see the cgroup tree from its root, somewhere else. */
let placeOf: (name: string) => string;

const directoryOf = (name: string) => join(view.directory, sliceCgroup(slice), name);
const run = (name: string) => runSandbox(daemon, name, { linux: { cgroupParent: slice } } as SandboxConfig);
const remove = async (podSandboxId: string) => {
  await daemon.api.stopPodSandbox({ podSandboxId });
  await daemon.api.removePodSandbox({ podSandboxId });
};
const listed = async () => (await daemon.api.listPodSandbox({})).items.map(({ id }) => id);
const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error) => ConnectError.from(error).message,
  );
const condition = async () =>
  (await daemon.api.status({})).status?.conditions.find(({ type }) => type === "SystemdReady");

beforeAll(async () => {
  view = await cgroupV2View();
  placeOf = directoryOf;
  fake = await startFakeSystemd({
    onStart({ name, properties }) {
      expect(properties.get("Slice")).toBe(slice);
      mkdirSync(placeOf(name), { recursive: true });
      for (const pid of properties.get("PIDs") as number[]) {
        writeFileSync(join(placeOf(name), "cgroup.procs"), String(pid));
      }
    },
    onStop: (name) => removeGroups(directoryOf(name)),
  });
  registry = await startImageRegistry();
  daemon = await startDaemon({
    mirror: registry.host,
    config: driver,
    program: { path: view.program, environment: { DBUS_SYSTEM_BUS_ADDRESS: fake.address } },
  });
});

afterAll(async () => {
  fake.behaviour = "answers";
  try {
    await daemon.close();
  } finally {
    await fake[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await view[Symbol.asyncDispose]();
  }
});

test("a pod is in the scope that systemd makes, and both are gone with it", async () => {
  const pod = await run("whole");
  const scope = `podrt-${pod}.scope`;
  const pids = (name: string) => readFileSync(join(directoryOf(scope), name, "cgroup.procs"), "utf8").trim();
  expect(pids("pause")).toBe(String(await pausePid(daemon, pod)));
  expect(pids("monitor")).toMatch(/^\d+$/);
  expect(readFileSync(join(directoryOf(scope), "cgroup.procs"), "utf8")).toBe("");
  expect(await condition()).toMatchObject({ status: true });
  await daemon.kill();
  await daemon.start();
  expect(await listed()).toEqual([pod]);
  await remove(pod);
  expect(fake.stopped).toEqual([scope]);
  expect(existsSync(directoryOf(scope))).toBe(false);
});

test.each([
  ["refuses", "Not? you (org.freedesktop.DBus.Error.AccessDenied)"],
  ["fails", 'ended as "failed"'],
  ["is not on the bus", "The name is not there"],
  ["cuts the connection in a call", "was closed from the other side"],
  ["cuts the connection in a job", "was closed from the other side"],
  ["sends garbage", "sent what is no D-Bus message"],
] as const)(
  "a systemd that %s makes the call fail with a sentence, and the next one succeeds",
  async (behaviour, words) => {
    fake.behaviour = behaviour;
    const error = await errorOf(run("pod"));
    expect(error).toContain("cannot put pod default/pod into podrt-");
    expect(error).toContain(words);
    expect(await listed()).toEqual([]);
    fake.behaviour = "answers";
    await remove(await run("pod"));
  },
);

test("a scope that is not where systemd should have it is an error that says where it is", async () => {
  placeOf = (name) => join(view.directory, "elsewhere.slice", name);
  const error = await errorOf(run("misplaced"));
  expect(error).toContain("at cgroup /elsewhere.slice/podrt-");
  expect(error).toContain("podrt must see the machine's cgroup tree from its root");
  placeOf = directoryOf;
  expect(await listed()).toEqual([]);
});

test("a systemd that does not answer is named in Status; the pods that run go on, and removals wait for it", async () => {
  const pod = await run("before");
  await ensureImage(daemon, "docker.io/library/busybox:latest");
  fake.behaviour = "never answers";
  expect(await errorOf(run("meanwhile"))).toContain(
    "does not answer: StartTransientUnit did not finish within",
  );
  const told = await eventually(
    "Status tells",
    async () => {
      const now = await condition();
      return now?.status === false ? now : undefined;
    },
    60_000,
  );
  expect(told.reason).toBe("SystemdNotAnswering");
  expect(told.message).toContain("pods cannot be made: ");
  const { status } = await daemon.api.status({});
  expect(status?.conditions.find(({ type }) => type === "RuntimeReady")?.status).toBe(true);

  const id = await runContainer(daemon, pod, { name: "app" });
  expect(await shellIn(daemon, id, "echo still here")).toBe("still here");
  const pause = await pausePid(daemon, pod);
  await daemon.api.stopPodSandbox({ podSandboxId: pod });
  expect(isAlive(pause)).toBe(false);
  expect(await errorOf(daemon.api.removePodSandbox({ podSandboxId: pod }))).toContain(
    "systemd does not answer",
  );
  expect(await listed()).toEqual([pod]);
  fake.behaviour = "answers";
  await daemon.api.removePodSandbox({ podSandboxId: pod });
  expect(await listed()).toEqual([]);
  await eventually("Status tells", async () => (await condition())?.status === true, 60_000);
});

test("a daemon that died while systemd made a scope undoes that at its next start, if systemd answers by then", async () => {
  const halfMade = async (name: string) => {
    const made = fake.started.length;
    fake.behaviour = "never finishes";
    const lost = errorOf(run(name));
    await eventually("the scope is made", () => fake.started.length > made);
    await daemon.kill();
    await lost;
    return fake.started.at(-1)!.name;
  };
  const first = await halfMade("first");
  fake.behaviour = "answers";
  await daemon.start();
  expect(await listed()).toEqual([]);
  expect(fake.stopped.at(-1)).toBe(first);

  const second = await halfMade("second");
  fake.behaviour = "is not on the bus";
  await daemon.start();
  // Its processes have been ended; who removes it later has systemd asked again.
  expect(readFileSync(join(directoryOf(second), "cgroup.events"), "utf8")).toContain("populated 0");
  const [left] = await listed();
  expect(`podrt-${left}.scope`).toBe(second);
  fake.behaviour = "answers";
  await remove(left!);
  expect(fake.stopped.at(-1)).toBe(second);
  expect(await listed()).toEqual([]);
});

// Where all controllers are v2's there is nothing to refuse.
test.skipIf(isV2)("on a machine with cgroup v1 the daemon does not start, and says why", async () => {
  const started = startDaemon({ config: driver });
  await expect(started).rejects.toThrow('cgroup.driver = "systemd" needs a machine with cgroup v2 alone');
});
