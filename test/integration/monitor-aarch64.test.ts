// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import { COMMON_SYS } from "../../src/linux/abi/syscall-numbers.ts";
import { AARCH64_SYS } from "../../src/linux/abi/syscall-numbers-aarch64.ts";
import { memfd, pipe } from "../../src/linux/fd.ts";
import { MACHINE_CODE } from "../../src/linux/machine-code.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { patience } from "../support/patience.ts";
import {
  FIRST_PASSED_FD,
  Image,
  JOURNAL_FD,
  O_CLOEXEC,
  PROGRAM_ADDRESS,
  TestMonitor,
} from "./monitor-harness.ts";

/*
 * The monitor for aarch64, and the engine in it, under qemu's user emulation, which has no clone3: tables, requests,
 * replies and descriptors. What it does with children is tested on such a machine, by engine.test.ts and
 * monitor.test.ts.
 */
const emulator = "qemu-aarch64-static";
const canRun = process.arch === "x64" && Bun.which(emulator) !== null;
const REFUSED = { who: 0, index: 0xffffffff, result: -ERRNO.EINVAL };

if (!canRun) console.log(`skipped: ${emulator} (of the package qemu-user-static) is not here`);
setDefaultTimeout(60_000 * patience);

const startMonitor = () =>
  new TestMonitor({ emulator: [emulator], program: MACHINE_CODE.aarch64.MONITOR_ELF });
const newImage = () => new Image(65536, PROGRAM_ADDRESS, { ...AARCH64_SYS, ...COMMON_SYS });

// An x86-64 machine needs an emulator, and an aarch64 machine runs the other tests.
test.skipIf(!canRun)("a table runs to its end, or to the entry that fails with what is not tolerated", () => {
  using monitor = startMonitor();
  const image = newImage();
  const close = (tolerate: number[]) => ({ call: "close", args: [99], tolerate }) as const;
  const ends = image.table([close([ERRNO.EBADF]), close([ERRNO.ENOENT, ERRNO.EBADF]), { call: "getpid" }]);
  const stops = image.table([
    { call: "getpid" },
    close([ERRNO.ENOENT, ERRNO.EPERM]),
    { call: "exit_group", args: [1] },
  ]);
  expect(monitor.run(image, ends)).toEqual([{ who: 0, index: 3, result: 0 }]);
  expect(monitor.run(image, stops)).toEqual([{ who: 0, index: 1, result: -ERRNO.EBADF }]);
});

// An x86-64 machine needs an emulator, and an aarch64 machine runs the other tests.
test.skipIf(!canRun)(
  "answers are stored, arguments are values or addresses, and an entry may call nothing",
  () => {
    using monitor = startMonitor();
    const image = newImage();
    const record = image.words(7, 0, 0, 0, 0);
    const [fd, size, value] = [image.words(0), image.words(40), image.words(12)];
    const table = image.table([
      { call: "dup", args: [JOURNAL_FD], result: fd },
      { call: "close", args: [99], result: record + 8, tolerate: [ERRNO.EBADF] },
      { call: "none", args: [value], indirect: [0], result: record + 16 },
      { call: "none", args: [-ERRNO.EPERM], tolerate: [ERRNO.EPERM] },
      { call: "write", args: [fd, record, size], indirect: [0, 2] },
      { call: "none", args: [-ERRNO.EIO] },
    ]);
    expect(monitor.run(image, table)).toEqual([{ who: 0, index: 5, result: -ERRNO.EIO }]);
    expect(monitor.records()).toEqual([{ tag: 7n, pid: -ERRNO.EBADF, status: 12, timeMs: 0 }]);
    // All six arguments by their addresses.
    const page = [0, 4096, 3, 0x22, -1, 0].map((word) => image.words(word));
    const map = (args: readonly number[]) => ({ call: "mmap", args, indirect: [0, 1, 2, 3, 4, 5] }) as const;
    const maps = image.table([map(page), map(page.with(1, image.words(0)))]);
    expect(monitor.run(image, maps)).toEqual([{ who: 0, index: 1, result: -ERRNO.EINVAL }]);
  },
);

// An x86-64 machine needs an emulator, and an aarch64 machine runs the other tests.
test.skipIf(!canRun)("ninety descriptors arrive in order, and those above 255 stay", () => {
  using monitor = startMonitor();
  using pipes = new DisposableStack();
  const { read, write } = pipe();
  pipes.use(read);
  const image = newImage();
  const text = image.text("held");
  const hold = { call: "dup3", args: [FIRST_PASSED_FD + 89, 300, O_CLOEXEC] } as const;
  using program = memfd("program", image.bytes);
  const filler = Array.from({ length: 87 }, () => program.number);
  const replies = monitor.run(image, image.table([hold]), [...filler, write.number]);
  expect(replies).toEqual([{ who: 0, index: 1, result: 0 }]);
  write.close();
  const say = { call: "write", args: [300, text, 4] } as const;
  const gone = { call: "write", args: [FIRST_PASSED_FD + 89, text, 4] } as const;
  expect(monitor.run(image, image.table([say, gone]))).toEqual([{ who: 0, index: 1, result: -ERRNO.EBADF }]);
  const bytes = new Uint8Array(8);
  expect(syscall("read", read.number, bytes, 8)).toBe(4);
  expect(Buffer.from(bytes).toString("latin1", 0, 4)).toBe("held");
});

// An x86-64 machine needs an emulator, and an aarch64 machine runs the other tests.
test.skipIf(!canRun)("a request that is none is refused, and the next one is taken", () => {
  using monitor = startMonitor();
  const image = newImage();
  const table = image.table([{ call: "getpid" }]);
  using program = memfd("program", image.bytes);
  const size = image.bytes.length;
  for (const [bytes, address] of [
    [0, table],
    [size + 1, table],
    [(4 << 20) + 1, table],
    [size, PROGRAM_ADDRESS - 8],
    [size, PROGRAM_ADDRESS + size],
  ] as const)
    expect(monitor.request(bytes, address, [program.number])).toEqual([REFUSED]);
  expect(monitor.run(image, table)).toEqual([{ who: 0, index: 1, result: 0 }]);
});

// An x86-64 machine needs an emulator, and an aarch64 machine runs the other tests.
test.skipIf(!canRun)(
  "SIGTERM ends a monitor without children, with 0; a program may end it with another",
  async () => {
    using first = startMonitor();
    process.kill(first.pid, "SIGHUP");
    process.kill(first.pid, "SIGTERM");
    expect(await first.exited).toBe(0);
    using second = startMonitor();
    const image = newImage();
    expect(second.run(image, image.table([{ call: "exit_group", args: [3] }]))).toEqual([]);
    expect(await second.exited).toBe(3);
  },
);
