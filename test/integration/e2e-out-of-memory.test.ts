// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  containerInfo,
  containerStatus,
  ensureImage,
  execIn,
  exited,
  runContainer,
  runSandbox,
} from "./harness/pods.ts";

/*
 * What the kernel kills for want of memory is told: of whom, and which limit it was, also where the first process goes
 * on, ends well, or ends while there is no daemon. On cgroup v2 the same files run in test/vm.
 */

const fixture = useDaemon();
const MIB = 1n << 20n;
const greedy = ["sh", "-c", "tail /dev/zero"];
const limited = (mebibytes: bigint) => ({
  linux: { resources: { memoryLimitInBytes: mebibytes * MIB, memorySwapLimitInBytes: mebibytes * MIB } },
});

test("a container that is killed says OOMKilled and names its own limit", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "own-limit");
  const id = await runContainer(daemon, pod, { name: "greedy", command: greedy, ...limited(24n) });
  const { reason, exitCode, message } = await exited(daemon, id, 30_000);
  expect([reason, exitCode, message]).toEqual([
    "OOMKilled",
    137,
    "the kernel killed 1 of its processes for want of memory: the container's memory limit of 24 MiB was reached",
  ]);
});

test("where the pod's limit was reached, that is named, and the other container is not blamed", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "pod-limit", {
    linux: { resources: { memoryLimitInBytes: 32n * MIB, memorySwapLimitInBytes: 32n * MIB } },
  });
  const frugal = await runContainer(daemon, pod, { name: "frugal" });
  const id = await runContainer(daemon, pod, { name: "greedy", command: greedy });
  const { reason, message } = await exited(daemon, id, 30_000);
  expect([reason, message]).toEqual([
    "OOMKilled",
    "the kernel killed 1 of its processes for want of memory: the pod's memory limit of 32 MiB was reached",
  ]);
  await daemon.api.stopContainer({ containerId: frugal, timeout: 0n });
  expect(await containerStatus(daemon, frugal)).toMatchObject({ reason: "Error", message: "" });
});

test("a child that is killed is told of while the container goes on, and when it has ended well", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "child");
  const command = ["sh", "-c", "tail /dev/zero; until test -e /tmp/end; do sleep 0.1; done"];
  const id = await runContainer(daemon, pod, { name: "parent", command, ...limited(24n) });
  const sentence =
    "the kernel killed 1 of its processes for want of memory: the container's memory limit of 24 MiB was reached";
  await eventually(
    "the verbose status tells",
    async () => (await containerInfo(daemon, id))["outOfMemory"] === sentence,
  );
  expect((await execIn(daemon, id, "touch", "/tmp/end")).code).toBe(0);
  expect(await exited(daemon, id)).toMatchObject({ reason: "Completed", exitCode: 0, message: sentence });
});

test("a command that is killed leaves its container to go on, and is told of", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "command");
  const id = await runContainer(daemon, pod, { name: "host", ...limited(24n) });
  expect((await execIn(daemon, id, "tail", "/dev/zero")).code).toBe(137);
  expect((await containerInfo(daemon, id))["outOfMemory"]).toContain("killed 1 of its processes");
});

test("what was killed while there was no daemon is told of by the next one", async () => {
  const { daemon } = fixture;
  await ensureImage(daemon, busybox);
  const pod = await runSandbox(daemon, "away");
  const command = ["sh", "-c", "until test -e /tmp/go; do sleep 0.1; done; tail /dev/zero"];
  const id = await runContainer(daemon, pod, { name: "greedy", command, ...limited(24n) });
  const { pid } = (await containerInfo(daemon, id)) as { pid: number };
  await daemon.kill();
  await Bun.write(`/proc/${pid}/root/tmp/go`, "");
  await eventually(
    "it has been killed",
    async () => !(await Bun.file(`/proc/${pid}/status`).exists()),
    30_000,
  );
  await daemon.start();
  const { reason, message } = await exited(daemon, id);
  expect([reason, message]).toEqual([
    "OOMKilled",
    expect.stringContaining("the container's memory limit of 24 MiB"),
  ]);
});
