// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Code } from "@connectrpc/connect";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { crictlBinary, type Daemon, hasCrictl } from "./harness/daemon.ts";
import { toBecome, watch } from "./harness/event-watch.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerPid, createContainer, exited, pausePid, runContainer, runSandbox } from "./harness/pods.ts";
import { childrenOf, parentOf } from "./harness/proc.ts";

const fixture = useDaemon();
test("the life of a pod: each event once, in order, with the state that it tells of", async () => {
  const { daemon } = fixture;
  const { api } = daemon;
  const watching = await watch(daemon);
  const pod = await runSandbox(daemon, "watched", { labels: { tier: "web" } });
  const short = await runContainer(daemon, pod, { name: "short", command: ["sh", "-c", "exit 7"] });
  await exited(daemon, short);
  const long = await runContainer(daemon, pod, { name: "long" });
  const broken = await createContainer(daemon, pod, { name: "broken", command: ["/no/such"] });
  await expect(api.startContainer({ containerId: broken })).rejects.toThrow("ENOENT");
  await api.removeContainer({ containerId: short });
  await api.stopPodSandbox({ podSandboxId: pod });
  await api.stopPodSandbox({ podSandboxId: pod });
  await api.removePodSandbox({ podSandboxId: pod });
  const expected = [
    ["created pod", "started pod"],
    ["created short", "started short", "stopped short"],
    ["created long", "started long"],
    ["created broken", "stopped broken"],
    ["deleted short", "stopped pod", "stopped long"],
    ["deleted long", "deleted broken", "deleted pod"],
  ].flat();
  await toBecome(() => watching.of(pod), expected);

  const events = watching.events.filter((event) => event.podSandboxStatus?.id === pod);
  const at = (line: string) => events[expected.indexOf(line)]!;
  const stateOf = (line: string, containerId: string) => {
    const status = at(line).containersStatuses.find(({ id }) => id === containerId);
    return status && [status.state, status.exitCode, status.reason];
  };
  expect(at("created pod").containersStatuses).toEqual([]);
  expect(stateOf("created short", short)).toEqual([ContainerState.CONTAINER_CREATED, 0, ""]);
  expect(stateOf("started short", short)).toEqual([ContainerState.CONTAINER_RUNNING, 0, ""]);
  expect(stateOf("stopped short", short)).toEqual([ContainerState.CONTAINER_EXITED, 7, "Error"]);
  expect(stateOf("created long", short)).toEqual([ContainerState.CONTAINER_EXITED, 7, "Error"]);
  expect(stateOf("stopped broken", broken)).toEqual([ContainerState.CONTAINER_EXITED, 128, "StartError"]);
  expect(stateOf("deleted short", short)).toBeUndefined();
  expect(stateOf("deleted short", long)?.[0]).toBe(ContainerState.CONTAINER_RUNNING);
  expect(stateOf("stopped long", long)).toEqual([ContainerState.CONTAINER_EXITED, 137, "Error"]);
  expect(at("started long").podSandboxStatus).toMatchObject({
    state: PodSandboxState.SANDBOX_READY,
    metadata: { name: "watched", uid: "uid-watched" },
    labels: { tier: "web" },
  });
  expect(at("started long").podSandboxStatus?.network?.ip).not.toBe("");
  for (const line of ["stopped pod", "deleted pod"]) {
    expect(at(line).podSandboxStatus).toMatchObject({
      state: PodSandboxState.SANDBOX_NOTREADY,
      metadata: { name: "watched", namespace: "default", uid: "uid-watched" },
    });
  }
  expect(at("deleted pod").containersStatuses).toEqual([]);
  const times = events.map(({ createdAt }) => createdAt);
  expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
  expect(Math.abs(Number(times[0]! / 1_000_000n) - Date.now())).toBeLessThan(60_000);
  watching.leave();
  expect((await watching.ended).code).toBe(Code.Canceled);
});

test("all subscribers get the same, and one that leaves takes nothing from the others", async () => {
  const { daemon } = fixture;
  const [first, second] = [await watch(daemon), await watch(daemon)];
  const pod = await runSandbox(daemon, "shared");
  await toBecome(() => first.of(pod), ["created pod", "started pod"]);
  first.leave();
  await first.ended;
  await daemon.api.removePodSandbox({ podSandboxId: pod });
  await toBecome(() => second.of(pod), ["created pod", "started pod", "stopped pod", "deleted pod"]);
  expect(first.of(pod)).toEqual(["created pod", "started pod"]);
  second.leave();
});

for (const [who, pidOf] of [
  ["pause", pausePid],
  ["monitor", async (daemon: Daemon, pod: string) => parentOf(await pausePid(daemon, pod))],
] as const) {
  test(`a pod whose ${who} dies has stopped, once, and so has its container`, async () => {
    const { daemon } = fixture;
    const watching = await watch(daemon);
    const pod = await runSandbox(daemon, `dies-with-its-${who}`);
    await runContainer(daemon, pod, { name: "app" });
    process.kill(await pidOf(daemon, pod), "SIGKILL");
    await eventually("both have stopped", () => watching.of(pod).length >= 6);
    await Bun.sleep(300);
    const seen = watching.of(pod);
    expect(seen.slice(0, 4)).toEqual(["created pod", "started pod", "created app", "started app"]);
    expect(seen.slice(4).sort()).toEqual(["stopped app", "stopped pod"]);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
    await toBecome(() => watching.of(pod).slice(6), ["deleted app", "deleted pod"]);
    watching.leave();
  });
}

test("an exit that is noticed together with the death of the monitor is told once, with its code", async () => {
  const { daemon } = fixture;
  const watching = await watch(daemon);
  const pod = await runSandbox(daemon, "both-at-once");
  const ids: string[] = [];
  for (const name of ["one", "two", "three"]) {
    ids.push(
      await runContainer(daemon, pod, {
        name,
        command: ["sh", "-c", "trap 'exit 6' TERM; sleep 1000 & wait"],
      }),
    );
  }
  const monitor = parentOf(await pausePid(daemon, pod));
  const pids = await Promise.all(ids.map((id) => containerPid(daemon, id)));
  // Before its trap is set a shell that is PID 1 does not hear the signal.
  await eventually("the shells wait", () => pids.every((pid) => childrenOf(pid).length === 1));
  process.kill(daemon.pid(), "SIGSTOP");
  try {
    for (const pid of pids) process.kill(pid, "SIGTERM");
    await eventually("the monitor has reaped all", () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    process.kill(monitor, "SIGKILL");
  } finally {
    process.kill(daemon.pid(), "SIGCONT");
  }
  await eventually(
    "all have stopped",
    () => watching.of(pod).filter((line) => /^stopped/.test(line)).length >= 4,
  );
  await Bun.sleep(300);
  const stopped = watching.of(pod).filter((line) => line.startsWith("stopped"));
  expect(stopped.sort()).toEqual(["stopped one", "stopped pod", "stopped three", "stopped two"]);
  for (const id of ids) expect(await exited(daemon, id)).toMatchObject({ exitCode: 6, reason: "Error" });
  await daemon.api.removePodSandbox({ podSandboxId: pod });
  watching.leave();
});

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl events", () => {
  let probes = 0;

  test("prints them until the daemon stops, which it hears of", async () => {
    const { daemon } = fixture;
    const child = Bun.spawn([crictlBinary, "--runtime-endpoint", `unix://${daemon.socket}`, "events"], {
      env: { ...process.env, CRI_CONFIG_FILE: `${daemon.root}/crictl.yaml` },
      stdout: "pipe",
      stderr: "pipe",
    });
    let printed = "";
    const reading = (async () => {
      for await (const chunk of child.stdout) printed += Buffer.from(chunk).toString();
    })();
    const podSandboxId = await eventually("events are printed", async () => {
      const id = await runSandbox(daemon, `crictl-probe-${probes++}`);
      await daemon.api.removePodSandbox({ podSandboxId: id });
      const types = ["CREATED", "STARTED", "STOPPED", "DELETED"];
      return types.every((type) => printed.includes(`CONTAINER_${type}_EVENT`)) ? id : undefined;
    });
    expect(printed).toContain(podSandboxId);
    expect(printed).toContain("SANDBOX_READY");
    process.kill(daemon.pid(), "SIGTERM");
    expect(await child.exited).not.toBe(0);
    expect(await child.stderr.text()).toMatch(/podrt serve is shutting down/);
    await reading;
    await daemon.kill();
    await daemon.start();
  });
});
