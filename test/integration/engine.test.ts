// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import { clone, loadMachineCode, mapMemory, memoryAt } from "../../src/linux/libc.ts";
import { ENGINE_CHILD_OFFSET, ENGINE_CODE, ENGINE_RUN_OFFSET } from "../../src/linux/machine-code.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { type Entry, Image, JOURNAL_FD, TestMonitor } from "./monitor-harness.ts";

const CLONE_VM_VFORK_SIGCHLD = 0x4100 | 17;

test("a program that succeeds answers with its number of entries", () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const pid = image.words(0);
  const table = image.table([{ call: "getpid", result: pid }, { call: "getppid" }]);
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 2, result: 0 }]);
});

test("a failure of the parent names its entry and error, and nothing after it is called", () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const table = image.table([
    { call: "getpid" },
    { call: "openat", args: [-100, image.text("/nowhere/at/all"), 0, 0] },
    { call: "mkdirat", args: [-100, image.text("/nowhere/either"), 0o700] },
  ]);
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 1, result: -ERRNO.ENOENT }]);
});

test("either of two tolerated errors lets a table go on, a third one stops it", () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const result = image.words(0);
  const closeBad = (tolerate: number[]): Entry => ({ call: "close", args: [99], result, tolerate });
  const table = image.table([
    closeBad([ERRNO.EBADF]),
    closeBad([ERRNO.ENOENT, ERRNO.EBADF]),
    closeBad([ERRNO.ENOENT, ERRNO.EPERM]),
  ]);
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 2, result: -ERRNO.EBADF }]);
});

test("what one entry returned is an argument of a later one, also when it failed", async () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const record = image.words(77, 0, 0, 0, 0);
  const table = image.table([
    { call: "getpid", result: record + 8 },
    { call: "close", args: [99], result: record + 16, tolerate: [ERRNO.EBADF] },
    { call: "write", args: [JOURNAL_FD, record, 40] },
  ]);
  monitor.run(image, table);
  const expected = { tag: 77n, pid: monitor.pid, status: -ERRNO.EBADF, timeMs: 0 };
  expect(monitor.records()).toEqual([expected]);
});

test("an argument may be given by its address: it is read when its entry is reached", () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const record = image.words(0, 0, 0, 0, 0);
  const fd = image.words(0);
  const six = image.words(40);
  const table = image.table([
    { call: "getpid", result: record },
    { call: "dup", args: [JOURNAL_FD], result: fd },
    { call: "write", args: [fd, record, six], indirect: [0, 2] },
    { call: "close", args: [fd], indirect: [0] },
    { call: "fstat", args: [fd, record], indirect: [0] },
  ]);
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 4, result: -ERRNO.EBADF }]);
  expect(monitor.records().map(({ tag }) => tag)).toEqual([BigInt(monitor.pid)]);
});

test("an entry may call nothing and answer its first argument, as a value, an address or an error", () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const record = image.words(0, 0, 0, 0, 0);
  const value = image.words(12);
  const table = image.table([
    { call: "none", args: [7], result: record },
    { call: "none", args: [value], indirect: [0], result: record + 8 },
    { call: "none", args: [-ERRNO.EPERM], tolerate: [ERRNO.EPERM] },
    { call: "write", args: [JOURNAL_FD, record, 40] },
    { call: "none", args: [-ERRNO.EIO] },
  ]);
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 4, result: -ERRNO.EIO }]);
  expect(monitor.records()).toEqual([{ tag: 7n, pid: 12, status: 0, timeMs: 0 }]);
});

test("a child at the end of its table reports no error, and a child's child counts as the second", async () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const grandchild = image.table([{ call: "getpid" }]);
  const child = image.table([
    { call: "clone3", args: image.forkArguments(grandchild) },
    { call: "wait4", args: [-1, 0, 0, 0] },
    { call: "exit_group", args: [3] },
  ]);
  const pid = image.words(7, 0, 0, 0, 0);
  const table = image.table([
    { call: "clone3", args: image.forkArguments(child), result: pid + 8 },
    { call: "write", args: [JOURNAL_FD, pid, 40] },
  ]);
  const replies = monitor.run(image, table);
  expect(replies).toContainEqual({ who: 2, index: 1, result: 0 });
  expect(replies).toHaveLength(2);
  expect((await monitor.exitOf(monitor.records()[0]!.pid)).status).toBe(3 << 8);
});

test("a clone3 without a table for the child goes on with the same table, as a child", async () => {
  using monitor = new TestMonitor();
  const image = new Image();
  const [argumentsAt = 0, size = 0] = image.forkArguments(0);
  const pid = image.words(0);
  const table = image.table([
    { call: "clone3", args: [argumentsAt, size, 0], result: pid },
    { call: "getpid" },
  ]);
  const replies = monitor.run(image, table);
  expect(replies).toContainEqual({ who: 0, index: 2, result: 0 });
  expect(replies).toContainEqual({ who: 1, index: 2, result: 0 });
  while (monitor.records().length === 0) await Bun.sleep(2);
  expect(monitor.records().map(({ status }) => status)).toEqual([127 << 8]);
});

test("the callable engine says where a table stopped, in the caller and as the entry of a child", () => {
  const engine = loadMachineCode(ENGINE_CODE);
  const memory = mapMemory(65536);
  const image = new Image(65536, memory);
  const pidAt = image.words(0);
  const good = image.table([{ call: "getpid", result: pidAt }]);
  const bad = image.table([{ call: "getpid" }, { call: "close", args: [-1] }, { call: "getpid" }]);
  memoryAt(memory, 65536).set(image.bytes);
  const word = (address: number) => new DataView(memoryAt(address, 8).buffer).getBigInt64(0, true);
  const stackTop = mapMemory(16384) + 16384;
  const badErrno = ERRNO.EBADF;
  // libc's clone exits with what the entry returns, which makes engine_run's answer visible.
  for (const [entry, table, index, errno, exitCode] of [
    [ENGINE_CHILD_OFFSET, good, 1, 0, 127],
    [ENGINE_CHILD_OFFSET, bad, 1, badErrno, 127],
    [ENGINE_RUN_OFFSET, good, 1, 0, 0],
    [ENGINE_RUN_OFFSET, bad, 1, badErrno, 256 - badErrno],
  ] as const) {
    memoryAt(memory, 65536).set(image.bytes);
    const pid = clone(engine + entry, stackTop, CLONE_VM_VFORK_SIGCHLD, table);
    expect(pid).toBeGreaterThan(0);
    expect(word(table - 8)).toBe(BigInt(index));
    expect(word(table - 16)).toBe(BigInt(-errno));
    expect(word(pidAt)).toBe(table === good ? BigInt(pid) : 0n);
    const status = new Uint8Array(4);
    expect(syscall("wait4", pid, status, 0, 0)).toBe(pid);
    expect([...status]).toEqual([0, exitCode, 0, 0]);
  }
});
