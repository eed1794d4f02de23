// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { cpSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { MNT_DETACH, MS_BIND, MS_PRIVATE, MS_REC } from "../../../src/linux/abi/mount.ts";
import { CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID } from "../../../src/linux/abi/sched.ts";
import { openCgroup } from "../../../src/linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../../src/linux/cgroup/host.ts";
import { open, pipe, setNonBlocking, writeAll } from "../../../src/linux/fd.ts";
import { newStage } from "../../../src/linux/pipe.ts";
import { bootId, identify } from "../../../src/linux/process.ts";
import { packagedBusybox } from "../../fixtures/images/busybox.ts";
import pinned from "../../fixtures/upgrade/first-version.json";
import {
  type Entry,
  FIRST_PASSED_FD,
  Image,
  JOURNAL_FD,
  O_CLOEXEC,
  TestMonitor,
} from "../monitor-harness.ts";
import { instanceOf } from "./leftovers.ts";

/*
 * A pod as the version in test/fixtures/upgrade made and left it. Its machine code runs; its rows, as they were after it
 * was killed with a pod in the host's network, are in the database; its files are where it had them. What it had agreed on
 * with its monitor is written down here by hand and stays: nothing comes from src/launch or src/container, which go on.
 */

const HELD_FD = 256;
const PAUSE_TAG = 1n;
const SIG_SETMASK = 2;

/** The pod, whose daemon is gone; disposing of it ends its monitor. */
export interface PinnedPod extends Disposable {
  readonly sandboxId: string;
  readonly containerId: string;
  /** Of the monitor, the pause and the container, which writes `line 2`, `line 3` and so on and ends with 7 at SIGTERM. */
  readonly pids: { readonly monitor: number; readonly pause: number; readonly container: number };
  /** `line 0` is in it, and half of the work that brings `line 1` there was done. */
  readonly logPath: string;
}

/** Makes the pod below `root`; `words` are more arguments of its monitor. */
export function startPinnedPod(root: string, words: readonly string[] = []): PinnedPod {
  const rows = pinnedRows(root);
  const { id: sandboxId } = rows.sandboxes;
  const { id: containerId, logPath } = rows.containers;
  const dir = join(root, "run/pods", sandboxId);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const monitor = new TestMonitor({
    journalPath: join(dir, "journal"),
    socketPath: join(dir, "monitor.sock"),
    program: Buffer.from(pinned.monitor, "base64"),
    arguments: [sandboxId, ...words],
  });
  try {
    const pause = startPause(monitor, root);
    const container = startContainer(monitor, root, containerId, join(dir, `${containerId}.batch`), logPath);
    joinCgroup(rows.sandboxes.cgroupPath, pause);
    joinCgroup(rows.containers.cgroupPath, container);
    Object.assign(rows.sandboxes, { monitor: identify(monitor.pid), pause: identify(pause) });
    Object.assign(rows.containers, { process: identify(container) });
    writeDatabase(root, rows);
    const pids = { monitor: monitor.pid, pause, container };
    return { sandboxId, containerId, logPath, pids, [Symbol.dispose]: () => monitor[Symbol.dispose]() };
  } catch (error) {
    monitor[Symbol.dispose]();
    throw error;
  }
}

function joinCgroup(path: string, pid: number): void {
  const cgroup = openCgroup(detectCgroups(), path);
  cgroup.create();
  for (const target of cgroup.joinTargets()) writeFileSync(target, `${pid}`);
  using directory = cgroup.directoryFd();
  if (directory !== undefined) writeFileSync(`/proc/self/fd/${directory.number}/cgroup.procs`, `${pid}`);
}

type PinnedRows = typeof pinned.rows;

function pinnedRows(root: string): PinnedRows {
  const values = { ROOT: root, INSTANCE: instanceOf(root), BOOT: bootId() };
  const fill = (text: string) =>
    text.replace(/\{(ROOT|INSTANCE|BOOT)\}/g, (_, name: keyof typeof values) => values[name]);
  return JSON.parse(fill(JSON.stringify(pinned.rows)));
}

function writeDatabase(root: string, rows: PinnedRows): void {
  mkdirSync(join(root, "lib"), { recursive: true, mode: 0o700 });
  using database = new Database(join(root, "lib/podrt.db"), { create: true, strict: true });
  database.run("PRAGMA journal_mode = WAL");
  for (const statement of pinned.schema.statements) database.run(statement);
  database.run(`PRAGMA user_version = ${pinned.schema.version}`);
  for (const [table, row] of Object.entries(rows)) {
    const { id } = table.startsWith("sandbox") ? rows.sandboxes : rows.containers;
    database.query(`INSERT INTO ${table} VALUES (?1, ?2)`).run(id, JSON.stringify(row));
  }
}

/** Runs a launch: a child with `flags` that goes on with `entries`, and its start record. */
function launch(
  monitor: TestMonitor,
  image: Image,
  tag: bigint,
  flags: number,
  entries: readonly Entry[],
  { before = [], fds = [] }: { readonly before?: readonly Entry[]; readonly fds?: readonly number[] } = {},
): number {
  const record = image.words(tag, 0, 0, 0, 0);
  const child = image.table([
    { call: "rt_sigprocmask", args: [SIG_SETMASK, image.words(0), 0, 8] },
    { call: "setsid" },
    ...entries,
  ]);
  const table = image.table([
    ...before,
    { call: "clone3", args: image.forkArguments(child, flags), result: record + 8 },
    { call: "write", args: [JOURNAL_FD, record, 40] },
  ]);
  const replies = monitor.run(image, table, fds);
  if (replies.length !== 1 || replies[0]!.result !== 0)
    throw new Error(`the pinned launch failed: ${JSON.stringify(replies)}`);
  return monitor.records().find((entry) => entry.tag === tag)!.pid;
}

function execute(image: Image, path: string, argv: readonly string[]): Entry {
  const environment = image.words(image.text("PATH=/bin"), 0);
  return {
    call: "execve",
    args: [image.text(path), image.words(...argv.map((word) => image.text(word)), 0), environment],
  };
}

function startPause(monitor: TestMonitor, root: string): number {
  const program = join(root, "pause");
  writeFileSync(program, Buffer.from(pinned.pause, "base64"), { mode: 0o755 });
  const image = new Image();
  return launch(monitor, image, PAUSE_TAG, CLONE_NEWIPC | CLONE_NEWPID, [
    execute(image, program, ["/pause"]),
  ]);
}

function startContainer(
  monitor: TestMonitor,
  root: string,
  id: string,
  markerPath: string,
  logPath: string,
): number {
  const rootfs = join(root, "rootfs");
  for (const name of ["bin", "proc", "dev"]) mkdirSync(join(rootfs, name), { recursive: true });
  cpSync(packagedBusybox(), join(rootfs, "bin/busybox"));
  for (const name of ["sh", "sleep"]) symlinkSync("busybox", join(rootfs, "bin", name));
  using opened = new DisposableStack();
  const [stdout, stderr] = [pipe(), pipe()];
  const stages = [newStage(), newStage()];
  for (const { read, write } of [stdout, stderr, ...stages]) {
    opened.use(read);
    opened.use(write);
  }
  for (const { read } of [stdout, stderr]) setNonBlocking(read.number, true);
  leaveHalfWritten(stages[0]!.write.number, markerPath, logPath);
  const nothing = opened.use(open("/dev/null", 2));
  const held = [stdout.read, stderr.read, stages[0]!.read, stages[1]!.read].map(({ number }) => number);
  const stdio = [nothing, stdout.write, stderr.write].map(({ number }) => number);
  const passed = (index: number) => FIRST_PASSED_FD + 2 + index;
  const image = new Image();
  const [here, slash, proc, place] = [".", "/", "/proc", rootfs].map((text) => image.text(text));
  const entries: Entry[] = [
    { call: "mount", args: [0, slash!, 0, MS_REC | MS_PRIVATE, 0] },
    { call: "mount", args: [place!, place!, 0, MS_BIND, 0] },
    { call: "chdir", args: [place!] },
    { call: "pivot_root", args: [here!, here!] },
    { call: "umount2", args: [here!, MNT_DETACH] },
    { call: "chdir", args: [slash!] },
    { call: "mount", args: [proc!, proc!, proc! + 1, 0, 0] },
    ...stdio.map((_, target): Entry => ({ call: "dup3", args: [passed(held.length + target), target, 0] })),
    execute(image, "/bin/sh", pinned.rows.container_specs.runtimeSpec.process.args),
  ];
  return launch(monitor, image, tagOf(id), CLONE_NEWNS | CLONE_NEWPID, entries, {
    before: held.map(
      (_, index): Entry => ({
        call: "dup3",
        args: [passed(index), HELD_FD + index, O_CLOEXEC],
      }),
    ),
    fds: [...held, ...stdio],
  });
}

/** The first 48 bits of the id and 16. */
function tagOf(containerId: string): bigint {
  return BigInt(`0x${containerId.slice(0, 12)}`) + 16n;
}

/** As when the daemon dies after it has appended a record and before its bytes have left the stage. */
function leaveHalfWritten(stage: number, markerPath: string, logPath: string): void {
  const line = (index: number) => `2026-11-23T06:11:31.000000000Z stdout F line ${index}\n`;
  mkdirSync(dirname(logPath), { recursive: true });
  writeFileSync(logPath, line(0));
  const { ino, size } = statSync(logPath);
  writeFileSync(logPath, readFileSync(logPath, "utf8") + line(1));
  const staged = Buffer.from("line 1\n");
  writeAll(stage, staged);
  const words = BigUint64Array.from([1, 0, ino, size, staged.length].map(BigInt));
  writeFileSync(markerPath, new Uint8Array(words.buffer));
}
