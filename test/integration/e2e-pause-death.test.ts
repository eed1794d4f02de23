// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ContainerState, NamespaceMode, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { containerOf, demoPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";
import {
  containerPid,
  containerStatus,
  pausePid,
  runContainer,
  runSandbox,
  sandboxStatus,
} from "./harness/pods.ts";
import { isAlive, procText } from "./harness/proc.ts";

const fixture = useDaemon();
const pidModes = {
  "own process namespaces": NamespaceMode.CONTAINER,
  "a shared process namespace": NamespaceMode.POD,
};

for (const [what, pid] of Object.entries(pidModes)) {
  test(`killing the pause of a pod with ${what} ends the pod within a second, and says so`, async () => {
    const { daemon } = fixture;
    const security = { linux: { securityContext: { namespaceOptions: { pid } } } };
    const sandboxId = await runSandbox(daemon, `mortal-${pid}`, security);
    const containerId = await runContainer(daemon, sandboxId, { name: "app", ...security });
    const app = await containerPid(daemon, containerId);

    process.kill(await pausePid(daemon, sandboxId), "SIGKILL");
    await eventually(
      "the sandbox is not ready and its container has ended",
      async () => {
        const { state } = await sandboxStatus(daemon, sandboxId);
        const container = await containerStatus(daemon, containerId);
        return (
          state === PodSandboxState.SANDBOX_NOTREADY && container.state === ContainerState.CONTAINER_EXITED
        );
      },
      1000,
    );

    expect(isAlive(app)).toBe(false);
    expect((await containerStatus(daemon, containerId)).exitCode).toBe(137);
    expect((await sandboxStatus(daemon, sandboxId)).network?.ip ?? "").toBe("");
    const { info } = await daemon.api.podSandboxStatus({ podSandboxId: sandboxId, verbose: true });
    expect(JSON.stringify(info)).toMatch(/pause[^"]*SIGKILL/);
    const create = daemon.api.createContainer({
      podSandboxId: sandboxId,
      config: { metadata: { name: "late" }, image: { image: "docker.io/library/busybox:latest" } },
    });
    expect(create).rejects.toThrow(/failed_precondition/);
    await daemon.removeEverything();
  });
}

test("podrt run brings a new sandbox with a new pause, and nothing of the old one is left", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, demoPod);
  const old = await runningPod(daemon, "demo-pod");
  const oldPause = await pausePid(daemon, old.sandboxId);
  process.kill(oldPause, "SIGKILL");

  const fresh = await eventually(
    "the pod has a new sandbox and runs",
    async () => {
      const pod = await runningPod(daemon, "demo-pod", 1);
      return pod.sandboxId === old.sandboxId ? undefined : pod;
    },
    20_000,
  );
  expect(await pausePid(daemon, fresh.sandboxId)).not.toBe(oldPause);
  expect(fresh.sandboxAttempt).toBe(old.sandboxAttempt + 1);
  expect(containerOf(fresh, "app1").containerId).not.toBe(containerOf(old, "app1").containerId);
  expect(await pageOf(fresh)).toContain("Welcome to nginx!");

  await eventually("the old sandbox is removed", async () => {
    const { items } = await daemon.api.listPodSandbox({});
    return items.every(({ id }) => id !== old.sandboxId);
  });
  const oldIds = [old.sandboxId, ...old.containers.map(({ containerId }) => containerId)];
  const names = [
    ...procText("/proc/self/mountinfo").split("\n"),
    ...readdirSync(join(daemon.root, "run/pods")),
    ...readdirSync(join(daemon.root, "lib/containers")),
    ...groupsOf(daemon.root),
  ];
  expect(names.filter((name) => oldIds.some((id) => name.includes(id)))).toEqual([]);
  const bridge = `prt${instanceOf(daemon.root)}`;
  expect(JSON.parse(await outputOf("ip", ["-j", "link", "show", "master", bridge]))).toHaveLength(1);
});

function groupsOf(root: string): string[] {
  // The hierarchies of cgroup v1, or the one of v2.
  return [".", ...readdirSync("/sys/fs/cgroup")]
    .map((hierarchy) => join("/sys/fs/cgroup", hierarchy, `podrt-${instanceOf(root)}`))
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => readdirSync(dir, { recursive: true, encoding: "utf8" }));
}
