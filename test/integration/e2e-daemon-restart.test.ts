// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { demoPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";
import {
  busybox,
  containerPid,
  containerStatus,
  ensureImage,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  sandboxStatus,
  shellIn,
} from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";

const fixture = useDaemon();

function contents(path: string): string[] {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => line.split(" ").slice(3).join(" "));
}

test("pods go on while the daemon is dead, and it goes on with them", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, demoPod);
  const before = await runningPod(daemon, "demo-pod");
  const pause = await pausePid(daemon, before.sandboxId);
  await daemon.kill();
  expect(isAlive(pause)).toBe(true);
  expect(await pageOf(before)).toContain("Welcome to nginx!");
  await daemon.start();
  const after = await runningPod(daemon, "demo-pod");
  expect(after.sandboxId).toBe(before.sandboxId);
  expect(after.addresses).toEqual(before.addresses);
  expect(after.containers.map(({ containerId }) => containerId)).toEqual(
    before.containers.map(({ containerId }) => containerId),
  );
  expect(await pausePid(daemon, after.sandboxId)).toBe(pause);
  const app2 = after.containers.find(({ name }) => name === "app2")!.containerId;
  expect(await shellIn(daemon, app2, "wget -qO- http://localhost")).toContain("Welcome to nginx!");
});

test("a daemon ended by SIGTERM leaves its pods running too", async () => {
  const { daemon } = fixture;
  const before = await runningPod(daemon, "demo-pod");
  const pause = await pausePid(daemon, before.sandboxId);
  process.kill(daemon.pid(), "SIGTERM");
  await eventually("the daemon has ended", () => !isAlive(daemon.pid()));
  expect(isAlive(pause)).toBe(true);
  await daemon.start();
  expect((await runningPod(daemon, "demo-pod")).sandboxId).toBe(before.sandboxId);
});

test(
  "no byte of a log is lost or doubled over five kills of the daemon",
  async () => {
    const { daemon } = fixture;
    const logDirectory = join(daemon.root, "logs");
    const sandboxId = await runSandbox(daemon, "writer", { logDirectory });
    const line =
      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; [ $((i % 10)) = 0 ] && usleep 1000; done";
    const id = await runContainer(daemon, sandboxId, {
      name: "writer",
      command: ["sh", "-c", line],
      logPath: "writer.log",
    });
    for (let round = 0; round < 5; round += 1) {
      await Bun.sleep(200);
      await daemon.kill();
      await Bun.sleep(150);
      await daemon.start();
    }
    const { logPath, exitCode } = await exited(daemon, id, 60_000);
    expect(exitCode).toBe(0);
    const lines = contents(logPath);
    const wrong = lines.findIndex((content, index) => content !== `line ${index + 1}`);
    expect(wrong === -1 ? [] : lines.slice(Math.max(0, wrong - 2), wrong + 4)).toEqual([]);
    expect(lines).toHaveLength(20_000);
  },
  120_000 * patience,
);

test("the exit of a container while the daemon was dead is known afterwards, with its code and time", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "brief");
  const ends = [
    { name: "seven", command: ["sh", "-c", "sleep 1; exit 7"], exitCode: 7 },
    { name: "killed", command: ["sleep", "3600"], exitCode: 137 },
    { name: "fine", command: ["sleep", "1"], exitCode: 0 },
  ];
  const ids: string[] = [];
  for (const { name, command } of ends) ids.push(await runContainer(daemon, sandboxId, { name, command }));
  const pids = await Promise.all(ids.map((id) => containerPid(daemon, id)));
  await daemon.kill();
  process.kill(pids[1]!, "SIGKILL");
  await eventually("all have ended", () => pids.every((pid) => !isAlive(pid)));
  const endedMs = Date.now();
  await Bun.sleep(1500);
  await daemon.start();
  for (const [index, { exitCode }] of ends.entries()) {
    const status = await containerStatus(daemon, ids[index]!);
    expect(status).toMatchObject({ state: ContainerState.CONTAINER_EXITED, exitCode });
    expect(Math.abs(Number(status.finishedAt / 1_000_000n) - endedMs)).toBeLessThan(1400);
  }
});

test("a pause that dies while the daemon is dead makes its sandbox not ready", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "dies-unseen");
  const id = await runContainer(daemon, sandboxId, { name: "app" });
  const pids = [await pausePid(daemon, sandboxId), await containerPid(daemon, id)];
  await daemon.kill();
  process.kill(pids[0]!, "SIGKILL");
  await daemon.start();
  await eventually("the sandbox is not ready", async () => {
    const { state } = await sandboxStatus(daemon, sandboxId);
    return state === PodSandboxState.SANDBOX_NOTREADY;
  });
  await exited(daemon, id, 3000);
  expect(pids.map(isAlive)).toEqual([false, false]);
});

test(
  "a daemon killed in the middle of anything leaves nothing that cannot be removed",
  async () => {
    const { daemon } = fixture;
    await daemon.removeEverything();
    await ensureImage(daemon, busybox);
    for (let round = 0; round < 12; round += 1) {
      const work = (async () => {
        const sandboxId = await runSandbox(daemon, `round-${round}`);
        await runContainer(daemon, sandboxId, { name: "app" });
        await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
        await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
      })().catch(() => {});
      await Bun.sleep(round * 12);
      await daemon.kill();
      await work;
      await daemon.start();
    }
    await daemon.removeEverything();
    expect(await daemon.leftovers()).toEqual([]);
    const sandboxId = await runSandbox(daemon, "round-0");
    expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
  },
  120_000 * patience,
);
