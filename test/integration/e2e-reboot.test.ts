// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { runCommand } from "./harness/command.ts";
import type { Daemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import {
  busybox,
  containerPid,
  containerStatus,
  ensureImage,
  pausePid,
  runContainer,
  runSandbox,
  sandboxInfo,
  sandboxStatus,
} from "./harness/pods.ts";
import { isAlive, parentOf } from "./harness/proc.ts";

const fixture = useDaemon();

/** What a reboot does to an instance: processes, run directory, mounts, cgroups, links and rules go, /var stays. */
async function reboot(daemon: Daemon, pids: readonly number[]): Promise<void> {
  await daemon.kill();
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  await eventually("the pod's processes have ended", () => pids.every((pid) => !isAlive(pid)));
  const podsDir = join(daemon.root, "run/pods");
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const point = line.split(" ")[4] ?? "";
    if (point.startsWith(podsDir)) await runCommand("umount", ["-l", point]);
  }
  rmSync(join(daemon.root, "run"), { recursive: true });
  const instance = instanceOf(daemon.root);
  await runCommand("ip", ["link", "delete", `prt${instance}`]);
  await runCommand("nft", ["delete", "table", "ip", `podrt_${instance}`]);
  await runCommand("sh", [
    "-c",
    `find /sys/fs/cgroup -depth -type d -path '*podrt-${instance}*' -exec rmdir {} +`,
  ]);
  const database = new Database(join(daemon.root, "lib/podrt.db"));
  database.run("UPDATE sandboxes SET record = json_set(record, '$.bootId', 'of-an-earlier-boot')");
  database.close();
  await daemon.start();
}

test("after a reboot pods are not ready, containers have ended, and both can be made again", async () => {
  const { daemon } = fixture;
  await ensureImage(daemon, busybox);
  const sandboxId = await runSandbox(daemon, "before");
  const id = await runContainer(daemon, sandboxId, { name: "app", command: ["sleep", "3600"] });
  const pause = await pausePid(daemon, sandboxId);
  await reboot(daemon, [parentOf(pause), pause, await containerPid(daemon, id)]);

  const sandbox = await sandboxStatus(daemon, sandboxId);
  expect(sandbox.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  expect(sandbox.network?.ip).toBe("");
  expect(await sandboxInfo(daemon, sandboxId)).toMatchObject({ reason: "the machine was rebooted", pid: 0 });
  const container = await containerStatus(daemon, id);
  expect(container).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 255,
    reason: "Unknown",
  });
  expect(container.message).toBe("the machine was rebooted");
  expect(daemon.api.execSync({ containerId: id, cmd: ["true"] })).rejects.toThrow("not running");

  await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  expect((await daemon.api.listContainers({})).containers).toEqual([]);
  expect(existsSync(join(daemon.root, "lib/containers", id))).toBe(false);

  const again = await runSandbox(daemon, "before");
  expect((await sandboxStatus(daemon, again)).state).toBe(PodSandboxState.SANDBOX_READY);
  const appId = await runContainer(daemon, again, { name: "app", command: ["sleep", "3600"] });
  expect((await containerStatus(daemon, appId)).state).toBe(ContainerState.CONTAINER_RUNNING);
  await daemon.api.removePodSandbox({ podSandboxId: again });
  expect(readdirSync(join(daemon.root, "run/pods"))).toEqual([]);
});
