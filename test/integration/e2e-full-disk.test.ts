// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { problemsOf } from "../faults/checker.ts";
import { writeImageFiles } from "../fixtures/images/archives.ts";
import { prepareImages, startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { patience } from "../support/patience.ts";
import { outputOf } from "./harness/command.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import {
  busybox,
  containerStatus,
  createContainer,
  ensureImage,
  exited,
  nginx,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";

const imported = "podrt/volume-content:latest";

setDefaultTimeout(60_000 * patience);

let registry: Registry;
let daemon: Daemon;
const home = mkdtempSync(join(tmpdir(), "pfd-"));
const mountPoint = join(home, "m");
const root = join(mountPoint, "r");
const ballast = join(mountPoint, "ballast");

beforeAll(async () => {
  mkdirSync(mountPoint);
  await outputOf("mount", ["-t", "tmpfs", "-o", "size=256m,mode=0755", "podrt-full", mountPoint]);
  mkdirSync(root);
  registry = await startImageRegistry();
  daemon = await startDaemon({ mirror: registry.host, root });
  await ensureImage(daemon, busybox);
});
afterAll(async () => {
  try {
    rmSync(ballast, { force: true });
    await daemon?.close();
  } finally {
    await registry?.[Symbol.asyncDispose]();
    await outputOf("umount", [mountPoint]);
    rmSync(home, { recursive: true });
  }
});

/** Fills the disk but for `freeBytes`. */
function fill(freeBytes: number): void {
  rmSync(ballast, { force: true });
  const { bavail, bsize } = statfsSync(mountPoint);
  writeFileSync(ballast, new Uint8Array(bavail * bsize - freeBytes));
}

const makeRoom = () => rmSync(ballast, { force: true });
afterEach(makeRoom);

async function expectSettled(): Promise<void> {
  await eventually("what is listed is what is there", async () => {
    const problems = await problemsOf(daemon);
    if (problems.length > 0) throw new Error(problems.join("\n"));
    return true;
  });
}

/** The call must be refused as ResourceExhausted by a sentence that names something below the daemon's root. */
async function expectFull(what: string, call: Promise<unknown>): Promise<void> {
  const message = await call.then(() => "it was done", String);
  expect(`${what}: ${message}`).toContain("resource_exhausted");
  expect(`${what}: ${message}`).toContain(root);
}

test("a pull and an import that find the disk full say so, leave nothing, and succeed with room", async () => {
  const { ociArchive } = writeImageFiles((await prepareImages()).layoutDir, imported, join(home, "archive"));
  const importIt = async () => {
    for await (const _ of daemon.pods.import({ path: ociArchive, name: imported }));
  };
  const before = (await daemon.api.listImages({})).images.length;
  for (const freeBytes of [0, 64 << 10, 1 << 20, 4 << 20]) {
    fill(freeBytes);
    await expectFull(`pull with ${freeBytes} free`, daemon.api.pullImage({ image: { image: nginx } }));
    await expectSettled();
  }
  fill(0);
  await expectFull("import", importIt());
  await expectSettled();
  expect((await daemon.api.listImages({})).images).toHaveLength(before);
  makeRoom();
  await importIt();
  await daemon.api.pullImage({ image: { image: nginx } });
  await expectSettled();
});

test("pods and containers that find the disk full say so and leave nothing; those that run can be stopped and removed", async () => {
  const logDirectory = join(root, "logs");
  const sandboxId = await runSandbox(daemon, "full", { logDirectory });
  const startable = await createContainer(daemon, sandboxId, { name: "startable", logPath: "startable.log" });
  const stopped = await runContainer(daemon, sandboxId, { name: "stopped", command: ["sleep", "600"] });
  fill(0);
  await expectFull("RunPodSandbox", runSandbox(daemon, "another"));
  await expectFull("CreateContainer", createContainer(daemon, sandboxId, { name: "another" }));
  await expectSettled();
  // Until it writes, it needs no room.
  await daemon.api.startContainer({ containerId: startable });
  await daemon.api.stopContainer({ containerId: stopped, timeout: 0n });
  expect((await containerStatus(daemon, stopped)).state).toBe(ContainerState.CONTAINER_EXITED);
  await daemon.api.removeContainer({ containerId: stopped });
  await daemon.api.stopContainer({ containerId: startable, timeout: 0n });
  await daemon.api.removeContainer({ containerId: startable });
  await daemon.kill();
  await daemon.start();
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  await daemon.api.removeImage({ image: { image: nginx } });
  makeRoom();
  await expectSettled();
  const again = await runSandbox(daemon, "another", { logDirectory });
  await runContainer(daemon, again, { name: "another", logPath: "another.log" });
  await daemon.api.removePodSandbox({ podSandboxId: again });
  rmSync(logDirectory, { recursive: true });
});

/** How many lines a container has in its log, in which each must be there once; one may be in parts, as far as it had come. */
function linesOf(path: string): number {
  const output = readFileSync(path, "latin1").replaceAll(/^\S{30} stdout ([FP]) (.*)\n/gm, (_, tag, text) =>
    tag === "F" ? `${text}\n` : text,
  );
  const lines = output.split("\n").slice(0, -1);
  expect(lines.findIndex((line, index) => line !== `line ${index + 1} ${"x".repeat(80)}`)).toBe(-1);
  return lines.length;
}

const manyLines = (count: number) => ["sh", "-c", `seq 1 ${count} | sed 's/.*/line & ${"x".repeat(80)}/'`];

test("no line of a log is lost to a full disk: the container waits, others go on, and its end is not held up", async () => {
  const logDirectory = join(root, "logs");
  const sandboxId = await runSandbox(daemon, "logs", { logDirectory });
  const other = await runContainer(daemon, sandboxId, { name: "other", command: ["sleep", "600"] });
  const start = (name: string, count: number) =>
    runContainer(daemon, sandboxId, { name, command: manyLines(count), logPath: `${name}.log` });
  const log = (name: string) => join(logDirectory, `${name}.log`);
  await start("warm", 1).then((id) => exited(daemon, id));
  fill(256 << 10);
  const stuck = await start("stuck", 20_000);
  await eventually("it has filled the disk", () => linesOf(log("stuck")) > 1000);
  expect((await containerStatus(daemon, stuck)).state).toBe(ContainerState.CONTAINER_RUNNING);
  expect(await shellIn(daemon, other, "echo goes on")).toBe("goes on");
  await daemon.kill();
  await daemon.start();
  expect((await containerStatus(daemon, stuck)).state).toBe(ContainerState.CONTAINER_RUNNING);
  makeRoom();
  expect((await exited(daemon, stuck)).exitCode).toBe(0);
  expect(linesOf(log("stuck"))).toBe(20_000);

  // As much as pipe and stage take beside what is on the disk.
  const brief = await createContainer(daemon, sandboxId, {
    name: "brief",
    command: manyLines(600),
    logPath: "brief.log",
  });
  const removed = await createContainer(daemon, sandboxId, {
    name: "removed",
    // Its start needs some room, which it finds before the other has taken all.
    command: ["sh", "-c", `sleep 1; ${manyLines(20_000)[2]}`],
    logPath: "removed.log",
  });
  fill(24 << 10);
  await daemon.api.startContainer({ containerId: removed });
  await daemon.api.startContainer({ containerId: brief });
  expect((await exited(daemon, brief)).exitCode).toBe(0);
  await daemon.api.stopContainer({ containerId: removed, timeout: 0n });
  await daemon.api.removeContainer({ containerId: removed });
  await daemon.kill();
  await daemon.start();
  expect(linesOf(log("brief"))).toBeLessThan(600);
  makeRoom();
  await eventually("the rest is written", () => linesOf(log("brief")) === 600);
  linesOf(log("removed"));
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  rmSync(logDirectory, { recursive: true });
  await expectSettled();
});
