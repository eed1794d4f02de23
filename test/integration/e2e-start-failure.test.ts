// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  containerStatus,
  createContainer,
  ensureImage,
  runContainer,
  runSandbox,
  secured,
} from "./harness/pods.ts";

const fixture = useDaemon();

test("starts that cannot be prepared say so and leave no descriptor open in the daemon", async () => {
  const { daemon } = fixture;
  await ensureImage(daemon, busybox);
  const podSandboxId = await runSandbox(daemon, "failing");
  const fail = async (round: number): Promise<void> => {
    const targetId = await runContainer(daemon, podSandboxId, {
      name: `target-${round}`,
      command: ["sleep", "60"],
    });
    const namespaceOptions = { pid: NamespaceMode.TARGET, targetId };
    const containerId = await createContainer(daemon, podSandboxId, {
      name: `joiner-${round}`,
      ...secured({ namespaceOptions }),
    });
    await daemon.api.removeContainer({ containerId: targetId });
    await expect(daemon.api.startContainer({ containerId })).rejects.toThrow(
      `container ${targetId}: it is not running`,
    );
    expect(await containerStatus(daemon, containerId)).toMatchObject({ exitCode: 128, reason: "StartError" });
    await daemon.api.removeContainer({ containerId });
  };
  const descriptors = () => readdirSync(`/proc/${daemon.pid()}/fd`).length;
  await fail(0);
  const before = descriptors();
  for (let round = 1; round <= 10; round++) await fail(round);
  // A few more may be connections that are just being closed; each leaked start would leave several.
  expect(descriptors()).toBeLessThanOrEqual(before + 5);
  await daemon.api.removePodSandbox({ podSandboxId });
});
