// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { postJson } from "./harness/api.ts";
import { countsOn, runCounter, tar } from "./harness/counter.ts";
import { criu, criuConfig } from "./harness/criu.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { createContainer, runContainer, runSandbox, shellIn } from "./harness/pods.ts";

const fixture = useDaemon({ config: criuConfig });
const dir = mkdtempSync(join(tmpdir(), "prt-checkpoint-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function newDirectory(name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  return path;
}

interface Request {
  readonly podSandboxId: string;
  readonly outputPath: string;
  readonly containerIds: string[];
  readonly options?: Record<string, string>;
}

async function refusal(request: Request, timeoutMs = 30_000): Promise<[string, string]> {
  const error = await fixture.daemon.api.checkpointPod(request, { timeoutMs }).catch(ConnectError.from);
  if (error instanceof ConnectError) return [Code[error.code], error.rawMessage];
  throw new Error("it succeeded");
}

// Debian's criu is older than many a kernel, and elsewhere there may be none.
describe.skipIf(criu === undefined)("CheckpointPod", () => {
  test("writes each container and the shared memory, and all go on", async () => {
    const { daemon } = fixture;
    const podSandboxId = await runSandbox(daemon, "whole");
    const first = await runCounter(daemon, podSandboxId, "first");
    const second = await runCounter(daemon, podSandboxId, "second");
    await createContainer(daemon, podSandboxId, { name: "not-started" });
    await shellIn(daemon, first, "echo shared >/dev/shm/note");
    const outputPath = newDirectory("whole");
    await daemon.api.checkpointPod(
      { podSandboxId, outputPath, containerIds: [first, second] },
      { timeoutMs: 30_000 },
    );
    const pod = JSON.parse(readFileSync(join(outputPath, "pod.json"), "utf8"));
    expect(pod.containers).toEqual([
      { name: "first", archive: "containers/0.tar" },
      { name: "second", archive: "containers/1.tar" },
    ]);
    expect(pod.config.metadata.name).toBe("whole");
    expect(tar("-xOf", join(outputPath, "shm.tar"), "note")).toBe("shared\n");
    const files = readdirSync(outputPath, { recursive: true, encoding: "utf8" }).sort();
    expect(files).toEqual(["containers", "containers/0.tar", "containers/1.tar", "pod.json", "shm.tar"]);
    for (const file of files) expect(statSync(join(outputPath, file)).mode & 0o077).toBe(0);
    expect(tar("-tf", join(outputPath, "containers/1.tar"))).toContain("checkpoint/core-1.img");
    for (const id of [first, second]) await countsOn(daemon, id);
  });

  test("refuses what is not exactly the pod's running containers, or no empty directory", async () => {
    const { daemon } = fixture;
    const podSandboxId = await runSandbox(daemon, "refused");
    const first = await runContainer(daemon, podSandboxId, { name: "first" });
    const second = await runContainer(daemon, podSandboxId, { name: "second" });
    const created = await createContainer(daemon, podSandboxId, { name: "created" });
    const elsewhere = await runContainer(daemon, await runSandbox(daemon, "elsewhere"), { name: "other" });
    const outputPath = newDirectory("refused");
    const good = { podSandboxId, outputPath, containerIds: [first, second] };
    const refused = async (change: Partial<Request>) => (await refusal({ ...good, ...change })).join(": ");

    expect(await refused({ containerIds: [] })).toStartWith("InvalidArgument: container_ids: must name");
    expect(await refused({ containerIds: [first, second, first] })).toStartWith(
      "InvalidArgument: container_ids[2]: names ",
    );
    expect(await refused({ containerIds: [first, second, first.slice(0, 20)] })).toBe(
      "InvalidArgument: container_ids[2]: names a container that another entry names too",
    );
    expect(await refused({ containerIds: [first] })).toContain(
      `FailedPrecondition: sandbox ${podSandboxId} cannot be checkpointed: container_ids does not name its container ${second} (second)`,
    );
    for (const other of [created, elsewhere]) {
      expect(await refused({ containerIds: [first, second, other] })).toContain(
        `FailedPrecondition: sandbox ${podSandboxId} cannot be checkpointed: container ${other} of container_ids is not one`,
      );
    }
    expect(await refused({ containerIds: [first, "0123456789"] })).toStartWith("NotFound: ");
    expect(await refused({ podSandboxId: "0123456789" })).toStartWith("NotFound: ");
    expect(await refused({ options: { speed: "high" } })).toContain("options[speed]: ");
    expect(await refused({ outputPath: "relative" })).toStartWith("InvalidArgument: output_path: ");
    expect(await refused({ outputPath: join(dir, "nowhere") })).toStartWith("InvalidArgument: output_path: ");
    const full = newDirectory("full");
    writeFileSync(join(full, "pod.json"), "mine");
    expect(await refused({ outputPath: full })).toStartWith("InvalidArgument: output_path: ");
    expect(readFileSync(join(full, "pod.json"), "utf8")).toBe("mine");
    const { body } = await postJson(daemon.socket, "CheckpointPod", good);
    expect(body["code"]).toBe("invalid_argument");
    expect(body["message"]).toContain("set a deadline");
    await daemon.api.stopPodSandbox({ podSandboxId });
    expect(await refused({})).toStartWith("FailedPrecondition: ");
    expect(readdirSync(outputPath)).toEqual([]);
  });

  test("a failure or the deadline leaves the directory empty and the containers running", async () => {
    const { daemon } = fixture;
    const podSandboxId = await runSandbox(daemon, "failing");
    const counter = await runCounter(daemon, podSandboxId, "counter");
    const large = await runContainer(daemon, podSandboxId, { name: "large" });
    await shellIn(daemon, large, "dd if=/dev/zero of=/large bs=1M count=1000 2>/dev/null");
    const outputPath = newDirectory("failing");
    const request = { podSandboxId, outputPath, containerIds: [counter, large] };
    expect((await refusal(request, 400))[0]).toBe("DeadlineExceeded");
    await eventually("it is undone", () => readdirSync(outputPath).length === 0);
    await countsOn(daemon, counter);

    // A file that no layer can have.
    await shellIn(daemon, large, "rm /large; touch /.wh.x");
    expect((await refusal(request))[0]).toBe("FailedPrecondition");
    expect(readdirSync(outputPath)).toEqual([]);
    await countsOn(daemon, counter);
    expect(readdirSync(join(daemon.root, "lib/checkpoints"))).toEqual([]);
  });

  test("a daemon that is killed meanwhile empties the directory, and the containers go on", async () => {
    const { daemon } = fixture;
    const podSandboxId = await runSandbox(daemon, "killed");
    const first = await runCounter(daemon, podSandboxId, "first");
    const second = await runCounter(daemon, podSandboxId, "second");
    await shellIn(daemon, first, "dd if=/dev/zero of=/large bs=1M count=200 2>/dev/null");
    const outputPath = newDirectory("killed");
    let interrupted = 0;
    for (const delayMs of [40, 150, 400]) {
      const request = { podSandboxId, outputPath, containerIds: [first, second] };
      daemon.api.checkpointPod(request, { timeoutMs: 30_000 }).catch(() => {});
      await Bun.sleep(delayMs);
      await daemon.kill();
      await daemon.start();
      const left = readdirSync(outputPath);
      // What is written last is there only where the checkpoint was whole before the daemon died.
      if (left.includes("pod.json")) {
        for (const name of left) rmSync(join(outputPath, name), { recursive: true });
      } else {
        expect(left).toEqual([]);
        interrupted++;
      }
      for (const id of [first, second]) await countsOn(daemon, id);
    }
    expect(interrupted).toBeGreaterThan(0);
  });
});
