// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { openSession } from "../fixtures/session-client.ts";
import { patience } from "../support/patience.ts";
import { connectApi } from "./harness/api.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { mountNew } from "./harness/host-mounts.ts";
import {
  containerPid,
  createContainer,
  execIn,
  exited,
  runContainer,
  runSandbox,
  secured,
  shellIn,
} from "./harness/pods.ts";

/*
 * What a container does to excess harms itself: with its log, the disk, its output, files and cgroups. The daemon is on
 * a disk of its own that is small, and shared by everything of podrt's.
 */

const DISK_MIB = 256;
const base = mkdtempSync(join(tmpdir(), "prt-small-"));
const disk = await mountNew("tmpfs", base, `size=${DISK_MIB}m`);
const root = join(base, "root");
mkdirSync(root);
const fixture = useDaemon({ root });
afterAll(async () => {
  await disk[Symbol.asyncDispose]();
  rmSync(base, { recursive: true });
});

const isFull = () => {
  const { bavail, bsize } = statfsSync(base);
  return bavail * bsize < 1 << 20;
};

/** A container beside the noisy one, that writes a line of its log every tenth of a second. */
async function startQuiet(sandboxId: string): Promise<string> {
  const command = ["sh", "-c", "while :; do echo a line; usleep 100000; done"];
  return runContainer(fixture.daemon, sandboxId, { name: "quiet", command, logPath: "quiet.log" });
}

/** Its commands answer and its log grows. */
async function goesOn(id: string, logDirectory: string): Promise<void> {
  expect(await shellIn(fixture.daemon, id, "echo here")).toBe("here");
  const size = () => statSync(join(logDirectory, "quiet.log")).size;
  const before = size();
  await eventually("the other container's log grows", () => size() > before);
}

test("a log that fills the disk: others are executed in and answered, and all is well when there is room", async () => {
  const { daemon } = fixture;
  const logDirectory = join(root, "firehose-logs");
  const pod = await runSandbox(daemon, "firehose", { logDirectory });
  const quiet = await startQuiet(pod);
  const command = ["sh", "-c", "yes $(head -c 8000 /dev/zero | tr '\\0' x)"];
  const id = await runContainer(daemon, pod, { name: "loud", command, logPath: "loud.log" });
  await eventually("the log grows fast", () => statSync(join(logDirectory, "loud.log")).size > 20_000_000);
  await goesOn(quiet, logDirectory);
  await eventually("the disk is full", isFull, 60_000);
  expect(await shellIn(daemon, quiet, "echo here")).toBe("here");
  expect((await daemon.api.listContainers({})).containers).toHaveLength(2);
  // The log's container waits or goes on, and what it writes is the disk's again at once: it is ended first.
  process.kill(await containerPid(daemon, id), "SIGKILL");
  truncateSync(join(logDirectory, "loud.log"));
  await exited(daemon, id, 30_000);
  await daemon.api.removeContainer({ containerId: id });
  await goesOn(quiet, logDirectory);
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});

test("a writable layer that fills the disk is told of; what needs room is refused, and possible again afterwards", async () => {
  const { daemon } = fixture;
  const logDirectory = join(base, "quiet-logs");
  const pod = await runSandbox(daemon, "filler", { logDirectory });
  const quiet = await startQuiet(pod);
  const id = await runContainer(daemon, pod, { name: "filler" });
  const { code, stderr } = await execIn(daemon, id, "dd", "if=/dev/zero", "of=/fill", "bs=64k");
  expect([code, stderr]).toEqual([1, expect.stringContaining("No space left on device")]);
  await eventually("its statistics tell", async () => {
    const { stats } = await daemon.api.containerStats({ containerId: id });
    return Number(stats?.writableLayer?.usedBytes?.value ?? 0) > (DISK_MIB / 3) * 2 ** 20;
  });
  expect(await shellIn(daemon, quiet, "echo here")).toBe("here");
  const refused = await createContainer(daemon, pod, { name: "more" }).catch(ConnectError.from);
  if (refused instanceof ConnectError) expect(refused.message).toMatch(/ENOSPC|no space|full/i);
  await shellIn(daemon, id, "rm /fill");
  await daemon.api.removeContainer({ containerId: id });
  const next = await runContainer(daemon, pod, { name: "next" });
  expect(await shellIn(daemon, next, "echo there")).toBe("there");
  await goesOn(quiet, logDirectory);
  await daemon.api.removePodSandbox({ podSandboxId: pod });
  rmSync(logDirectory, { recursive: true });
});

test("output that nobody reads holds up neither its container nor another", async () => {
  const { daemon } = fixture;
  const logDirectory = join(root, "unread-logs");
  const pod = await runSandbox(daemon, "unread", { logDirectory });
  const quiet = await startQuiet(pod);
  // It writes its log nowhere, so that the disk stays empty.
  const command = [
    "sh",
    "-c",
    "i=0; while :; do head -c 100000 /dev/zero; i=$((i+1)); echo $i >/tmp/rounds; done",
  ];
  const id = await runContainer(daemon, pod, { name: "loud", command });
  const { url } = await daemon.api.attach({ containerId: id, stdout: true, stderr: true });
  const session = await openSession(url, "websocket", { stdout: true, stderr: true });
  session.socket.pause();
  const rounds = async () => Number(await shellIn(daemon, id, "cat /tmp/rounds"));
  const before = await eventually("it has begun", rounds);
  await eventually("it goes on by far more than pipe, socket and backlog hold in memory", async () => {
    return (await rounds()) > before + 100;
  });
  await goesOn(quiet, logDirectory);
  session.abort();
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});

test(
  "a hundred thousand files and directories five thousand deep are removed while others go on",
  async () => {
    const { daemon } = fixture;
    const logDirectory = join(root, "files-logs");
    const pod = await runSandbox(daemon, "files", { logDirectory });
    const quiet = await startQuiet(pod);
    const thousand = "d/".repeat(1000);
    const make = [
      "mkdir /many && cd /many && seq 1 100000 | xargs touch",
      `for i in 1 2 3 4 5; do mkdir -p ${thousand} && cd -P ${thousand} || exit 1; done`,
      "touch /tmp/made; exec sleep 3600",
    ];
    const id = await runContainer(daemon, pod, { name: "files", command: ["sh", "-ec", make.join("; ")] });
    await eventually("they are there", () => shellIn(daemon, id, "test -e /tmp/made && echo yes"), 90_000);
    const { stats } = await daemon.api.containerStats({ containerId: id });
    expect(stats?.attributes?.id).toBe(id);
    const removal = daemon.api.removeContainer({ containerId: id });
    await goesOn(quiet, logDirectory);
    await removal;
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  },
  150_000 * patience,
);

test("cgroups that a privileged container has made in its own, with processes in them, go with it", async () => {
  const { daemon } = fixture;
  const privileged = { privileged: true };
  const pod = await runSandbox(daemon, "cgroups", secured(privileged) as object);
  const id = await runContainer(daemon, pod, { name: "cgroups", ...secured(privileged) });
  const divide = [
    "own=$(grep -E '^0::|:memory:' /proc/1/cgroup | grep -v '^0::/$' | head -1 | cut -d: -f3)",
    "cd /sys/fs/cgroup/memory$own 2>/dev/null || cd /sys/fs/cgroup$own",
    "for i in $(seq 200); do mkdir -p x$i/y/z; done",
    "sleep 3600 & echo $! >x200/y/z/cgroup.procs",
    "ls -d x*/y/z | wc -l",
  ];
  expect(await shellIn(daemon, id, divide.join("; "))).toBe("200");
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  await daemon.api.removeContainer({ containerId: id });
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});

test("a daemon whose own log cannot be written answers, serves and ends well", async () => {
  const directory = join(root, "mute");
  mkdirSync(directory);
  const full = openSync("/dev/full", "w");
  const serving = spawn(binary, ["serve", "--root", directory], { cwd: "/", stdio: ["ignore", full, full] });
  closeSync(full);
  const ended = new Promise<number | null>((resolve) => {
    serving.once("exit", resolve);
  });
  try {
    const api = connectApi(join(directory, "run/podrt.sock"));
    await eventually("it answers", async () => (await api.version({})).runtimeName === "podrt", 20_000);
    await expect(api.containerStatus({ containerId: "nobody" })).rejects.toThrow("not_found");
    expect((await api.listContainers({})).containers).toEqual([]);
    serving.kill("SIGTERM");
    expect(await ended).toBe(0);
  } finally {
    serving.kill("SIGKILL");
  }
});
