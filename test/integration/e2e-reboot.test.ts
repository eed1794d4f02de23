// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  containerStatus,
  ensureImage,
  runContainer,
  runSandbox,
  sandboxInfo,
  sandboxStatus,
} from "./harness/pods.ts";
import { reboot } from "./harness/reboot.ts";

const fixture = useDaemon();

test("after a reboot pods are not ready, containers have ended, and both can be made again", async () => {
  const { daemon } = fixture;
  await ensureImage(daemon, busybox);
  const sandboxId = await runSandbox(daemon, "before");
  const id = await runContainer(daemon, sandboxId, { name: "app", command: ["sleep", "3600"] });
  await reboot(daemon);

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
