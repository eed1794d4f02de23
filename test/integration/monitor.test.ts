// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import { memfd, pipe } from "../../src/linux/fd.ts";
import { syscall } from "../../src/linux/syscall.ts";
import {
  becomesReadable,
  DOORBELL_FD,
  type Entry,
  FIRST_PASSED_FD,
  Image,
  JOURNAL_FD,
  O_CLOEXEC,
  PROGRAM_ADDRESS,
  TestMonitor,
} from "./monitor-harness.ts";

const REFUSED_INDEX = 0xffffffff;
const CLONE_VM_VFORK = 0x4100;
const MIB = 1 << 20;
const MNT_DETACH = 2;

/** The entry that turns a child into `path` with no arguments or environment of interest. */
function execEntry(image: Image, path: string, ...args: string[]): Entry {
  const argv = image.words(...[path, ...args].map((arg) => image.text(arg)), 0);
  return { call: "execve", args: [image.text(path), argv, image.words(0)] };
}

/** Entries that give a child back what the monitor blocks. */
function unblockSignals(image: Image): Entry {
  return { call: "rt_sigprocmask", args: [2, image.words(0), 0, 8] };
}

for (const [kind, flags] of [
  ["a forked child", 0],
  ["a child that shares the monitor's memory", CLONE_VM_VFORK],
] as const) {
  test(`${kind} execs; its start and its exit are in the journal, in this order`, async () => {
    using monitor = new TestMonitor();
    const image = new Image();
    const record = image.words(7, 0, 0, 0, 0);
    const child = image.table([unblockSignals(image), execEntry(image, "/bin/sh", "-c", "exit 9")]);
    const table = image.table([
      { call: "clone3", args: image.forkArguments(child, flags), result: record + 8 },
      { call: "write", args: [JOURNAL_FD, record, 40] },
    ]);
    const before = Date.now();
    expect(monitor.run(image, table)).toEqual([{ who: 0, index: 2, result: 0 }]);
    const { pid } = monitor.records()[0]!;
    const exit = await monitor.exitOf(pid);
    expect(exit.status).toBe(9 << 8);
    expect(exit.timeMs).toBeGreaterThan(before - 1);
    expect(exit.timeMs).toBeLessThan(Date.now() + 1);
    expect(monitor.records().map(({ tag }) => tag)).toEqual([7n, 0n]);
  });

  test(`${kind} that cannot exec reports who, which entry and why, and exits with 127`, async () => {
    using monitor = new TestMonitor();
    const image = new Image();
    const record = image.words(7, 0, 0, 0, 0);
    const child = image.table([{ call: "getpid" }, execEntry(image, "/no/such/program")]);
    const table = image.table([
      { call: "clone3", args: image.forkArguments(child, flags), result: record + 8 },
      { call: "write", args: [JOURNAL_FD, record, 40] },
    ]);
    const replies = monitor.run(image, table);
    expect(replies).toContainEqual({ who: 0, index: 2, result: 0 });
    expect(replies).toContainEqual({ who: 1, index: 1, result: -ERRNO.ENOENT });
    expect(replies).toHaveLength(2);
    expect((await monitor.exitOf(monitor.records()[0]!.pid)).status).toBe(127 << 8);
    expect(monitor.run(image, image.table([{ call: "getpid" }]))).toHaveLength(1);
  });
}

test("an exit rings the doorbell that a program has installed, also a second time", async () => {
  using monitor = new TestMonitor();
  const bell = pipe(0o4000);
  using read = bell.read;
  using write = bell.write;
  const image = new Image();
  const child = image.table([{ call: "exit_group", args: [0] }]);
  const start: Entry = { call: "clone3", args: image.forkArguments(child) };
  const install: Entry = { call: "dup3", args: [FIRST_PASSED_FD + 2, DOORBELL_FD, O_CLOEXEC] };
  monitor.run(image, image.table([install, start]), [write.number]);
  write.close();
  const ring = () => {
    expect(becomesReadable(read.number)).toBe(true);
    return syscall("read", read.number, new Uint8Array(8), 8);
  };
  expect(ring()).toBe(1);
  monitor.run(image, image.table([start]));
  expect(ring()).toBe(1);
  expect(monitor.records()).toHaveLength(2);
});

test("exits are journalled while nobody listens to the doorbell", async () => {
  using monitor = new TestMonitor();
  const { read, write } = pipe(0o4000);
  const image = new Image();
  const child = image.table([{ call: "exit_group", args: [5] }]);
  const install: Entry = { call: "dup3", args: [FIRST_PASSED_FD + 2, DOORBELL_FD, O_CLOEXEC] };
  monitor.run(image, image.table([install]), [write.number]);
  read.close();
  write.close();
  const start: Entry = { call: "clone3", args: image.forkArguments(child) };
  for (let launch = 0; launch < 3; launch++) monitor.run(image, image.table([start]));
  while (monitor.records().length < 3) await Bun.sleep(2);
  expect(monitor.records().map(({ status }) => status)).toEqual([5 << 8, 5 << 8, 5 << 8]);
  expect(monitor.isAlive).toBe(true);
});

test("descriptors that a program moves to 256 and above are held, all others are closed", () => {
  using monitor = new TestMonitor();
  const before = monitor.descriptors();
  const first = pipe();
  const second = pipe();
  const image = new Image();
  const table = image.table([
    { call: "dup3", args: [FIRST_PASSED_FD + 2, 256, O_CLOEXEC] },
    { call: "dup3", args: [FIRST_PASSED_FD + 3, 300, O_CLOEXEC] },
  ]);
  monitor.run(image, table, [first.write.number, second.write.number]);
  first.write.close();
  second.write.close();
  monitor.run(image, image.table([{ call: "getpid" }]));
  const held = [...monitor.descriptors().keys()].filter((fd) => !before.has(fd));
  expect(held).toEqual([256, 300]);
  // The write end lives on in the monitor, so the reader is not at its end of file.
  syscall("fcntl", first.read.number, 4, 0o4000);
  expect(() => syscall("read", first.read.number, new Uint8Array(1), 1)).toThrow("EAGAIN");
  monitor.run(image, image.table([{ call: "close", args: [256] }]));
  expect(syscall("read", first.read.number, new Uint8Array(1), 1)).toBe(0);
  first.read.close();
  second.read.close();
});

test("ninety descriptors arrive in order; with ninety-one the request is refused and none stays open", () => {
  using monitor = new TestMonitor();
  const before = monitor.descriptors();
  const image = new Image();
  // The last descriptor, number 189, is the null device: writing to it works, reading gives nothing.
  const nullDevice = syscall("openat", -100, "/dev/null", O_CLOEXEC | 2, 0);
  const program = memfd("program", new Uint8Array(8));
  const extra = [...Array(87).fill(program.number), nullDevice];
  const table = image.table([{ call: "ioctl", args: [FIRST_PASSED_FD + 89, 0x5401, 0] }]);
  expect(monitor.run(image, table, extra)).toEqual([{ who: 0, index: 0, result: -ERRNO.ENOTTY }]);
  const refusal = [{ who: 0, index: REFUSED_INDEX, result: -ERRNO.EINVAL }];
  expect(monitor.run(image, table, [...extra, nullDevice])).toEqual(refusal);
  syscall("close", nullDevice);
  program.close();
  expect(monitor.descriptors()).toEqual(before);
});

test("a program may have 4 MiB and not a byte more, and never more than its file", () => {
  using monitor = new TestMonitor();
  const largest = new Image(4 * MIB);
  const table = largest.table([{ call: "getpid" }]);
  const refusal = [{ who: 0, index: REFUSED_INDEX, result: -ERRNO.EINVAL }];
  expect(monitor.run(largest, table)).toEqual([{ who: 0, index: 1, result: 0 }]);
  expect(monitor.run(new Image(4 * MIB + 8), table)).toEqual(refusal);
  using program = memfd("program", new Image(4096).bytes);
  expect(monitor.request(8192, table, [program.number])).toEqual(refusal);
  expect(monitor.request(0, table, [program.number])).toEqual(refusal);
  expect(monitor.request(4096, PROGRAM_ADDRESS - 64, [program.number])).toEqual(refusal);
  expect(monitor.request(4096, PROGRAM_ADDRESS + 4096, [program.number])).toEqual(refusal);
  const { read, write } = pipe();
  expect(monitor.request(4096, table, [read.number])).toEqual(refusal);
  read.close();
  write.close();
  expect(monitor.isAlive).toBe(true);
});

test("malformed datagrams are dropped with their descriptors and answered where possible", () => {
  using monitor = new TestMonitor();
  const before = monitor.descriptors();
  const { read, write } = pipe();
  monitor.send(new Uint8Array(16), []);
  monitor.send(new Uint8Array(3), []);
  monitor.send(new Uint8Array(0), [read.number]);
  monitor.send(new Uint8Array(16), [read.number]);
  for (const payload of [15, 17, 4000]) {
    const replies = pipe();
    monitor.send(new Uint8Array(payload), [read.number, replies.write.number, write.number]);
    replies.write.close();
    const reply = new Uint8Array(16);
    expect(syscall("read", replies.read.number, reply, 16)).toBe(16);
    expect(syscall("read", replies.read.number, new Uint8Array(1), 1)).toBe(0);
    expect([...new Uint32Array(reply.buffer)]).toEqual([0, REFUSED_INDEX, -ERRNO.EINVAL >>> 0, 0xffffffff]);
    replies.read.close();
  }
  const image = new Image();
  expect(monitor.run(image, image.table([{ call: "getpid" }]))).toHaveLength(1);
  expect(monitor.descriptors()).toEqual(before);
  read.close();
  write.close();
});

test("a reader of replies that is gone does the monitor no harm", () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const table = image.table([{ call: "getpid" }]);
  using program = memfd("program", image.bytes);
  const { read, write } = pipe();
  const payload = new Uint8Array(BigUint64Array.from([BigInt(image.bytes.length), BigInt(table)]).buffer);
  read.close();
  monitor.send(payload, [program.number, write.number]);
  write.close();
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 1, result: 0 }]);
});

test("signals other than SIGKILL and SIGTERM leave the monitor alone", async () => {
  using monitor = new TestMonitor();
  for (const signal of [1, 2, 3, 10, 12, 13, 14, 17, 20, 40]) process.kill(monitor.pid, signal);
  const image = new Image();
  expect(monitor.run(image, image.table([{ call: "getpid" }]))).toHaveLength(1);
  expect(readFileSync(`/proc/${monitor.pid}/comm`, "utf8")).toBe("podrt-monitor\n");
});

test("SIGTERM ends a monitor without children, at once", async () => {
  using monitor = new TestMonitor();
  process.kill(monitor.pid, "SIGTERM");
  expect(await monitor.exited).toBe(0);
});

test("SIGTERM ends a monitor once it has written the end of its last child, and it works until then", async () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const forever = image.table([{ call: "close", args: [FIRST_PASSED_FD + 1] }, { call: "ppoll" }]);
  monitor.run(image, image.table([{ call: "clone3", args: image.forkArguments(forever) }]));
  const [first] = monitor.children();
  process.kill(monitor.pid, "SIGTERM");
  monitor.run(image, image.table([{ call: "clone3", args: image.forkArguments(forever) }]));
  process.kill(first!, "SIGKILL");
  expect(await monitor.exitOf(first!)).toMatchObject({ status: 9 });
  expect(monitor.isAlive).toBe(true);
  const [second] = monitor.children();
  process.kill(second!, "SIGKILL");
  expect(await monitor.exited).toBe(0);
  expect(monitor.records().at(-1)).toMatchObject({ pid: second, status: 9 });
});

test("an exit that finds the journal's file system full is written, whole, when there is room", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-full-"));
  syscall("mount", "podrt-test", directory, "tmpfs", 0, "size=16k");
  try {
    // 16 of the record's 40 bytes fit into the journal's page; the file system has no other.
    const journalPath = join(directory, "exits");
    const ballast = join(directory, "ballast");
    writeFileSync(journalPath, new Uint8Array(4080));
    using monitor = new TestMonitor({ journalPath });
    writeFileSync(ballast, new Uint8Array(3 * 4096));
    const image = new Image();
    const child = image.table([{ call: "exit_group", args: [4] }]);
    monitor.run(image, image.table([{ call: "clone3", args: image.forkArguments(child) }]));
    while (statSync(journalPath).size < 4096) await Bun.sleep(2);
    await Bun.sleep(150);
    expect(statSync(journalPath).size).toBe(4096);
    rmSync(ballast);
    while (statSync(journalPath).size < 4120) await Bun.sleep(2);
    expect(monitor.records().at(-1)).toMatchObject({ tag: 0n, status: 4 << 8 });
    expect(monitor.isAlive).toBe(true);
  } finally {
    // Detached, since the killed monitor may not have gone yet.
    syscall("umount2", directory, MNT_DETACH);
    rmdirSync(directory);
  }
});

test("with its socket shut down the monitor goes on reaping and does not spin", async () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const nap = image.words(0, 200_000_000);
  const child = image.table([
    { call: "nanosleep", args: [nap, 0] },
    { call: "exit_group", args: [6] },
  ]);
  monitor.run(image, image.table([{ call: "clone3", args: image.forkArguments(child) }]));
  monitor.shutDownSocket();
  await Bun.sleep(50);
  const idle = monitor.runTimeNs;
  await Bun.sleep(50);
  expect(monitor.runTimeNs).toBe(idle);
  while (monitor.records().length === 0) await Bun.sleep(5);
  expect(monitor.records()[0]?.status).toBe(6 << 8);
});

test("a thousand launches leak neither descriptors nor memory, and idling costs no time", async () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const child = image.table([{ call: "exit_group", args: [0] }]);
  const table = image.table([{ call: "clone3", args: image.forkArguments(child) }]);
  for (let launch = 0; launch < 10; launch++) monitor.run(image, table);
  const before = { descriptors: monitor.descriptors(), memory: monitor.memory("Private_Dirty") };
  for (let launch = 0; launch < 1000; launch++) monitor.run(image, table);
  while (monitor.records().length < 1010) await Bun.sleep(5);
  expect(monitor.descriptors()).toEqual(before.descriptors);
  expect(monitor.memory("Private_Dirty")).toBeLessThanOrEqual(before.memory);
  expect(before.memory).toBeLessThanOrEqual(16384);
  expect(new Set(monitor.records().map(({ pid }) => pid)).size).toBe(1010);
  const idle = monitor.runTimeNs;
  await Bun.sleep(300);
  expect(monitor.runTimeNs).toBe(idle);
});
