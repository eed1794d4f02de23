// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containerState } from "../../src/container/status.ts";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { JsonText } from "../../src/lib/json-text.ts";
import { MIGRATIONS } from "../../src/state/migrations.ts";
import { isReady } from "../../src/state/sandboxes.ts";
import pinned from "../fixtures/upgrade/first-version.json";
import { patience } from "../support/patience.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { type PinnedPod, startPinnedPod } from "./harness/pinned-pod.ts";
import { containerStatus, exited, sandboxStatus, shellIn } from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";

setDefaultTimeout(60_000 * patience);

/** Runs `work` with today's daemon on what the pinned version has left; `words` are more arguments of its monitor. */
async function withPinnedPod(
  words: readonly string[],
  work: (daemon: Daemon, pod: PinnedPod) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  using pod = startPinnedPod(root, words);
  const daemon = await startDaemon({ root });
  try {
    await work(daemon, pod);
  } finally {
    await daemon.close();
  }
}

function lines({ logPath }: PinnedPod): string[] {
  const records = readFileSync(logPath, "utf8").split("\n").slice(0, -1);
  return records.map((record) => record.split(" ").slice(3).join(" "));
}

function aliveOf({ pids }: PinnedPod): boolean[] {
  return [pids.monitor, pids.pause, pids.container].map(isAlive);
}

test("no record needs a field that the first version's have not", () => {
  const { sandboxes, sandbox_configs, containers, container_specs } = pinned.rows;
  // The compiler holds it, the states are what the records say.
  const config = new JsonText(sandbox_configs.config);
  expect(isReady({ ...sandboxes, config })).toBe(true);
  const specs = {
    config: new JsonText(container_specs.config),
    runtimeSpec: new JsonText(container_specs.runtimeSpec),
  };
  expect(containerState({ ...containers, ...specs })).toBe("running");
});

test("a pod of the first version goes on under today's daemon: ready, its log whole, exec, exit code, removal", () =>
  withPinnedPod([], async (daemon, pod) => {
    const { sandboxId, containerId } = pod;
    expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
    expect((await containerStatus(daemon, containerId)).state).toBe(ContainerState.CONTAINER_RUNNING);
    await eventually("the log goes on", () => lines(pod).length >= 10);
    expect(await shellIn(daemon, containerId, "echo said")).toBe("said");

    await daemon.api.stopContainer({ containerId, timeout: 10n });
    expect(await exited(daemon, containerId)).toMatchObject({ exitCode: 7, reason: "Error" });
    expect(lines(pod)).toEqual(lines(pod).map((_, index) => `line ${index}`));
    await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
    expect(aliveOf(pod)).toEqual([false, false, false]);
  }));

test("a state that a newer podrt has written is refused in a sentence, and its pods go on", () =>
  withPinnedPod([], async (daemon, pod) => {
    await daemon.kill();
    const setSchema = (version: number) => {
      using database = new Database(join(daemon.root, "lib/podrt.db"), { strict: true });
      database.run(`PRAGMA user_version = ${version}`);
    };
    setSchema(99);
    await expect(daemon.start()).rejects.toThrow(
      /state database \S+ was written by a newer podrt \(schema 99, this one knows \d+\): start that podrt, or/,
    );
    expect(aliveOf(pod)).toEqual([true, true, true]);
    setSchema(MIGRATIONS.length);
    await daemon.start();
    expect((await sandboxStatus(daemon, pod.sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
  }));

for (const [age, protocol, end] of [
  [
    "a newer",
    99,
    ({ api }: Daemon, { containerId }: PinnedPod) => api.stopContainer({ containerId, timeout: 10n }),
  ],
  ["an older", 0, async (_: Daemon, { pids }: PinnedPod) => void process.kill(pids.pause, "SIGKILL")],
] as const) {
  test(`a pod whose monitor was started by ${age} podrt goes on; it is named, and can be stopped and removed`, () =>
    withPinnedPod([`protocol=${protocol}`], async (daemon, pod) => {
      const { sandboxId, containerId } = pod;
      expect(daemon.log()).toMatch(new RegExp(`"name":"pinned".*unattended.*by ${age} podrt`));
      expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
      expect((await containerStatus(daemon, containerId)).state).toBe(ContainerState.CONTAINER_RUNNING);
      const exec = daemon.api.execSync({ containerId, cmd: ["true"], timeout: 10n });
      await expect(exec).rejects.toThrow(
        `speaks protocol ${protocol}, this one speaks 1: start that podrt again`,
      );
      expect(aliveOf(pod)).toEqual([true, true, true]);

      await end(daemon, pod);
      const ended = await exited(daemon, containerId);
      expect(ended).toMatchObject({ exitCode: 255, reason: "Unknown" });
      expect(ended.message).toContain(`protocol ${protocol}`);
      await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
      expect(aliveOf(pod)).toEqual([false, false, false]);
    }));
}
