// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { cgroupDirectory } from "./harness/cgroup-files.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  containerPid,
  containerStatus,
  ensureImage,
  runContainer,
  runSandbox,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const fixture = useDaemon();

/** What a dump that was cut off, or an administrator, may leave. */
async function freeze(pid: number): Promise<void> {
  const v1 = `${cgroupDirectory(pid, "freezer")}/freezer.state`;
  const v2 = `${cgroupDirectory(pid, "")}/cgroup.freeze`;
  if (existsSync(v1)) {
    writeFileSync(v1, "FROZEN");
    await eventually("it is frozen", () => procText(v1).trim() === "FROZEN");
    return;
  }
  writeFileSync(v2, "1");
  await eventually("it is frozen", () =>
    procText(v2.replace("cgroup.freeze", "cgroup.events")).includes("frozen 1"),
  );
}

test("a container that somebody has frozen can be stopped and removed", async () => {
  const { daemon } = fixture;
  await ensureImage(daemon, busybox);
  const sandboxId = await runSandbox(daemon, "frozen");
  const id = await runContainer(daemon, sandboxId, { name: "app", command: ["sleep", "3600"] });
  await freeze(await containerPid(daemon, id));
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  expect(await containerStatus(daemon, id)).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 137,
  });
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
});
