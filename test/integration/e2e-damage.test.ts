// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { beforeAll, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { problemsOf } from "../faults/checker.ts";
import type { Daemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  containerPid,
  ensureImage,
  exited,
  nginx,
  pausePid,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";
import { isAlive, parentOf } from "./harness/proc.ts";

const fixture = useDaemon();

let daemon: Daemon;
let state: string;
beforeAll(() => {
  daemon = fixture.daemon;
  state = join(daemon.root, "lib");
});

interface Pod {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly pids: readonly number[];
}

/** A pod whose container counts into its log. */
async function countingPod(name: string): Promise<Pod> {
  const logDirectory = join(daemon.root, "logs");
  const sandboxId = await runSandbox(daemon, name, { logDirectory });
  const command = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"];
  const containerId = await runContainer(daemon, sandboxId, { name, command, logPath: `${name}.log` });
  const pause = await pausePid(daemon, sandboxId);
  return { sandboxId, containerId, pids: [parentOf(pause), pause, await containerPid(daemon, containerId)] };
}

/** Lines of the log so far, each of which must be there once and in order. */
function countedLines(name: string): number {
  const lines = readFileSync(join(daemon.root, "logs", `${name}.log`), "utf8")
    .split("\n")
    .slice(0, -1);
  expect(lines.findIndex((line, index) => !line.endsWith(` stdout F line ${index + 1}`))).toBe(-1);
  return lines.length;
}

async function expectGoesOn(pod: Pod, name: string): Promise<void> {
  expect(pod.pids.filter((pid) => !isAlive(pid))).toEqual([]);
  expect(await containerPid(daemon, pod.containerId)).toBe(pod.pids[2]!);
  const lines = countedLines(name);
  await eventually("its log goes on", () => countedLines(name) > lines);
  expect(await shellIn(daemon, pod.containerId, "echo there")).toBe("there");
}

/** Does something to the state while the daemon is away. */
async function spoil(work: (database: Database) => void): Promise<void> {
  await daemon.kill();
  const database = new Database(join(state, "podrt.db"));
  work(database);
  database.close();
  await daemon.start();
}

async function damage(): Promise<string> {
  const { status } = await daemon.api.status({});
  const { status: isIntact, message } = status!.conditions.find(({ type }) => type === "StateIntact")!;
  expect(isIntact).toBe(message === "");
  return message;
}

async function expectSettled(): Promise<void> {
  await eventually("what is listed is what is there", async () => {
    const problems = await problemsOf(daemon);
    if (problems.length > 0) throw new Error(problems.join("\n"));
    return true;
  });
}

const quarantined = () => {
  const directory = join(state, "quarantine");
  return existsSync(directory) ? readdirSync(directory) : [];
};

beforeEach(async () => {
  rmSync(join(state, "quarantine"), { recursive: true, force: true });
  await ensureImage(daemon, busybox);
});

test("rows that are no JSON or no records are put aside, what they were about is ended, and all else goes on", async () => {
  const kept = await countingPod("kept");
  const lost = await countingPod("lost");
  const half = await countingPod("half");
  await spoil((database) => {
    database.run("UPDATE sandboxes SET record = '{\"id\": 7' WHERE key = ?1", [lost.sandboxId]);
    database.run("UPDATE containers SET record = '{\"id\": 7}' WHERE key = ?1", [half.containerId]);
    database.run("UPDATE leases SET record = '' WHERE key = ?1", [half.sandboxId]);
  });
  await expectGoesOn(kept, "kept");
  expect(lost.pids.filter(isAlive)).toEqual([]);
  expect(half.pids.map(isAlive)).toEqual([true, true, false]);
  const { items } = await daemon.api.listPodSandbox({});
  expect(items.map(({ id }) => id).sort()).toEqual([kept.sandboxId, half.sandboxId].sort());
  expect(await damage()).toContain(lost.sandboxId);
  expect(daemon.log()).toContain(`the record ${half.containerId} in containers was damaged`);
  expect(
    quarantined().filter((name) => name.includes(lost.sandboxId) || name.includes(half.containerId)),
  ).toHaveLength(2);

  await runContainer(daemon, half.sandboxId, { name: "again", command: ["sleep", "60"] });
  await daemon.kill();
  await daemon.start();
  expect(await damage()).toBe("");
  await expectGoesOn(kept, "kept");
  await daemon.removeEverything();
  rmSync(join(daemon.root, "logs"), { recursive: true });
  await expectSettled();
});

test("a database that is garbage is put aside and begun anew; the pods nobody knows any more are ended", async () => {
  const pod = await countingPod("unknown");
  await daemon.kill();
  writeFileSync(join(state, "podrt.db"), "this is no database, ".repeat(1000));
  rmSync(join(state, "podrt.db-wal"), { force: true });
  await daemon.start();
  expect(pod.pids.filter(isAlive)).toEqual([]);
  expect(await damage()).toContain("the state database was damaged (file is not a database)");
  expect(quarantined().some((name) => name.endsWith("podrt.db"))).toBe(true);
  rmSync(join(daemon.root, "logs"), { recursive: true });
  await expectSettled();
  const next = await countingPod("unknown");
  await expectGoesOn(next, "unknown");
  await daemon.removeEverything();
  rmSync(join(daemon.root, "logs"), { recursive: true });
  await expectSettled();
});

test("of a database with a broken page the other rows are taken over, and their pods go on", async () => {
  const pod = await countingPod("kept");
  await daemon.kill();
  const path = join(state, "podrt.db");
  const database = new Database(path);
  // Settings that mean nothing, on pages of their own.
  for (let index = 0; index < 50; index++)
    database.run("INSERT INTO settings VALUES (?1, ?2)", [`~${index}`, JSON.stringify("x".repeat(3000))]);
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.indexOf("x".repeat(2000)) / 4096) * 4096;
  bytes.fill(0xff, at, at + 4096);
  writeFileSync(path, bytes);
  await daemon.start();
  expect(await damage()).toContain("the state database was damaged");
  await expectGoesOn(pod, "kept");
  await daemon.removeEverything();
  rmSync(join(daemon.root, "logs"), { recursive: true });
  await ensureImage(daemon, busybox);
  await expectSettled();
});

/** The directory of the image's layer with a given file. */
function layerWith(file: string): string {
  const layers = join(state, "layers");
  const name = readdirSync(layers).find((layer) => existsSync(join(layers, layer, file)))!;
  return join(layers, name);
}

const largestBlob = () => {
  const directory = join(state, "blobs/sha256");
  const files = readdirSync(directory).map((name) => join(directory, name));
  return files.sort((a, b) => statSync(b).size - statSync(a).size)[0]!;
};

async function nginxWorks(name: string): Promise<void> {
  const sandboxId = await runSandbox(daemon, name);
  const check = { name, image: { image: nginx }, command: ["nginx", "-t"] };
  const { exitCode } = await exited(daemon, await runContainer(daemon, sandboxId, check));
  expect(exitCode).toBe(0);
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
}

test("an image is pulled whole again after a layer or a blob of it was damaged in any way", async () => {
  const nginxFile = "usr/sbin/nginx";
  const hurts: readonly (readonly [string, () => void])[] = [
    ["a layer's directory is gone", () => rmSync(layerWith(nginxFile), { recursive: true })],
    ["a file of a layer is gone", () => rmSync(join(layerWith(nginxFile), nginxFile))],
    ["a file of a layer is cut short", () => truncateSync(join(layerWith(nginxFile), nginxFile), 100)],
    ["a blob is gone", () => rmSync(largestBlob())],
    ["a blob is cut short", () => truncateSync(largestBlob(), 1000)],
    [
      "a layer is gone and its blob has other bytes",
      () => {
        const blob = largestBlob();
        writeFileSync(blob, Buffer.alloc(statSync(blob).size));
        rmSync(layerWith(nginxFile), { recursive: true });
      },
    ],
  ];
  for (const [what, hurt] of hurts) {
    await daemon.api.pullImage({ image: { image: nginx } });
    await spoil(hurt);
    await daemon.api.pullImage({ image: { image: nginx } });
    expect(`${what}: ${existsSync(join(layerWith(nginxFile), nginxFile))}`).toBe(`${what}: true`);
    await nginxWorks("hurt");
    await expectSettled();
  }
});

test("damage that a reboot may have brought is found without being asked for, and told until it is mended", async () => {
  await daemon.api.pullImage({ image: { image: nginx } });
  rmSync(join(layerWith("usr/sbin/nginx"), "usr/sbin/nginx"));
  await spoil((database) => database.run("DELETE FROM settings WHERE key = 'images.verified_boot'"));
  const message = await eventually("it is told", async () => (await damage()) || undefined);
  expect(message).toContain(`image ${nginx} has lost a layer and must be pulled`);
  expect((await daemon.api.imageStatus({ image: { image: nginx } })).image).toBeUndefined();
  await daemon.api.pullImage({ image: { image: nginx } });
  expect(await damage()).toBe("");
  await nginxWorks("mended");
  await expectSettled();
});

test("a container goes on in a damaged layer, beside the layer that is unpacked anew", async () => {
  const pod = await countingPod("stays");
  const damaged = layerWith("bin/busybox");
  renameSync(join(damaged, "etc"), join(damaged, "ect"));
  await daemon.kill();
  await daemon.start();
  await daemon.api.pullImage({ image: { image: busybox } });
  expect(existsSync(damaged)).toBe(true);
  expect(layerWith("etc/passwd")).not.toBe(damaged);
  await daemon.kill();
  await daemon.start();
  await expectGoesOn(pod, "stays");
  await daemon.removeEverything();
  expect(existsSync(damaged)).toBe(false);
  rmSync(join(daemon.root, "logs"), { recursive: true });
  await expectSettled();
});
