// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { ContainerState, NamespaceMode, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  containerStatus,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  sandboxInfo,
  sandboxStatus,
} from "./harness/pods.ts";
import { childrenOf, isAlive, parentOf, procText } from "./harness/proc.ts";

const fixture = useDaemon();
const SIGTERM = 15;

/** A pod in the host's process namespace, so that nothing but podrt ends what its container started. */
async function podOfTwoProcesses(daemon: Daemon, name: string) {
  const security = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.NODE } } } };
  const sandboxId = await runSandbox(daemon, name, security);
  const command = ["sh", "-c", "sleep 3600 & wait"];
  const containerId = await runContainer(daemon, sandboxId, { name: "app", command, ...security });
  const app = await containerPid(daemon, containerId);
  const child = await eventually("the container's second process", () => childrenOf(app)[0]);
  const pause = await pausePid(daemon, sandboxId);
  return { sandboxId, containerId, pids: [app, child, pause], monitor: parentOf(pause) };
}

async function expectEnded(
  daemon: Daemon,
  pod: Awaited<ReturnType<typeof podOfTwoProcesses>>,
): Promise<void> {
  await eventually("all processes of the pod have ended", () => pod.pids.every((pid) => !isAlive(pid)));
  expect((await sandboxStatus(daemon, pod.sandboxId)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  expect(await sandboxInfo(daemon, pod.sandboxId)).toMatchObject({ reason: "the pod's monitor died" });
  const container = await containerStatus(daemon, pod.containerId);
  expect(container).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 255,
    reason: "Unknown",
  });
  await daemon.api.stopPodSandbox({ podSandboxId: pod.sandboxId });
  await daemon.api.removePodSandbox({ podSandboxId: pod.sandboxId });
}

test("a pod whose monitor is killed ends, with everything it started", async () => {
  const { daemon } = fixture;
  const pod = await podOfTwoProcesses(daemon, "watched");
  process.kill(pod.monitor, "SIGKILL");
  await eventually("the sandbox is not ready", async () => {
    const { state } = await sandboxStatus(daemon, pod.sandboxId);
    return state === PodSandboxState.SANDBOX_NOTREADY;
  });
  await expectEnded(daemon, pod);
});

test("so does one whose monitor was killed while the daemon was dead", async () => {
  const { daemon } = fixture;
  const pod = await podOfTwoProcesses(daemon, "unwatched");
  await daemon.kill();
  process.kill(pod.monitor, "SIGKILL");
  await eventually("the monitor has ended", () => !isAlive(pod.monitor));
  await daemon.start();
  await expectEnded(daemon, pod);
});

test("a pod whose monitor dies while it is being stopped is stopped all the same", async () => {
  const { daemon } = fixture;
  const pod = await podOfTwoProcesses(daemon, "raced");
  // A monitor that stands still reaps nothing, so that the stop is held up where the race would be lost.
  process.kill(pod.monitor, "SIGSTOP");
  const stop = daemon.api.stopPodSandbox({ podSandboxId: pod.sandboxId });
  await eventually("the container is killed", () => !isAlive(pod.pids[0]!));
  process.kill(pod.monitor, "SIGKILL");
  await stop;
  expect(await containerStatus(daemon, pod.containerId)).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 255,
  });
  await daemon.api.removePodSandbox({ podSandboxId: pod.sandboxId });
});

test("an exit that the monitor had written down is kept, though both died before it was read", async () => {
  const { daemon } = fixture;
  const pod = await podOfTwoProcesses(daemon, "noted");
  const [app = 0] = pod.pids;
  await daemon.kill();
  process.kill(app, "SIGTERM");
  await eventually("the monitor has reaped the container", () => !childrenOf(pod.monitor).includes(app));
  await Bun.sleep(50);
  process.kill(pod.monitor, "SIGKILL");
  await eventually("the monitor has ended", () => !isAlive(pod.monitor));
  await daemon.start();
  expect(await containerStatus(daemon, pod.containerId)).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 143,
    reason: "Error",
  });
  await daemon.api.removePodSandbox({ podSandboxId: pod.sandboxId });
});

test("a pod whose monitor cannot be reached any more is not ready; it ends with its monitor, or when it is stopped", async () => {
  const { daemon } = fixture;
  const [stopped, orphaned] = [
    await podOfTwoProcesses(daemon, "unreachable"),
    await podOfTwoProcesses(daemon, "unreachable-and-dead"),
  ];
  await daemon.kill();
  for (const { sandboxId } of [stopped, orphaned])
    rmSync(join(daemon.root, "run/pods", sandboxId, "monitor.sock"));
  await daemon.start();
  for (const { sandboxId, pids, monitor } of [stopped, orphaned]) {
    expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
    const { reason } = await sandboxInfo(daemon, sandboxId);
    expect(reason).toContain("could not take it up again: cannot reach the monitor");
    expect([...pids, monitor].map(isAlive)).toEqual([true, true, true, true]);
  }
  process.kill(orphaned.monitor, "SIGKILL");
  await daemon.api.stopPodSandbox({ podSandboxId: stopped.sandboxId });
  for (const { sandboxId, containerId, pids, monitor } of [stopped, orphaned]) {
    const ended = await exited(daemon, containerId);
    expect(ended).toMatchObject({ exitCode: 255, reason: "Unknown" });
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
    expect([...pids, monitor].map(isAlive)).toEqual([false, false, false, false]);
  }
});

test("SIGTERM to all of a pod, as a machine sends it that is shut down, leaves nothing to wait for, and loses no exit", async () => {
  const { daemon } = fixture;
  for (const isAway of [false, true]) {
    const sandboxId = await runSandbox(daemon, `shut-down-${isAway}`);
    const command = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done"];
    const containerId = await runContainer(daemon, sandboxId, { name: "app", command });
    const [app, pause] = [await containerPid(daemon, containerId), await pausePid(daemon, sandboxId)];
    const monitor = parentOf(pause);
    await eventually("the application listens for the signal", () => catches(app, SIGTERM));
    if (isAway) await daemon.kill();
    // In the order that is worst: the monitor is to go on until it has heard of the others' ends.
    for (const pid of [monitor, pause, app]) process.kill(pid, "SIGTERM");
    await eventually("the pod's processes have ended, and its monitor with them", () => {
      return ![app, pause, monitor].some(isAlive);
    });
    if (isAway) await daemon.start();
    const { exitCode } = await exited(daemon, containerId);
    // A daemon that is there ends the pod as soon as its pause has ended.
    expect(isAway ? [7] : [7, 137]).toContain(exitCode);
    expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
    await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  }
});

function catches(pid: number, signal: number): boolean {
  const mask = /^SigCgt:\s+(\w+)$/m.exec(procText(`/proc/${pid}/status`))?.[1] ?? "0";
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}
