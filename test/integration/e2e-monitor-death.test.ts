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
import { childrenOf, isAlive, parentOf } from "./harness/proc.ts";

const fixture = useDaemon();

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
