// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ContainerLog } from "../../src/container/log.ts";
import { pipe, setNonBlocking } from "../../src/linux/fd.ts";
import { syscall, trySyscall } from "../../src/linux/syscall.ts";

const MNT_DETACH = 2;
const MS_REMOUNT = 0x20;

/** Calls `work` with a directory on a file system of 64 KiB and the name of a file that takes 40 of them. */
async function onSmallDisk(work: (directory: string, ballast: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "podrt-log-full-"));
  syscall("mount", "podrt-test", directory, "tmpfs", 0, "size=64k");
  try {
    const ballast = join(directory, "ballast");
    writeFileSync(ballast, new Uint8Array(40_960));
    await work(directory, ballast);
  } finally {
    syscall("umount2", directory, MNT_DETACH);
    rmdirSync(directory);
  }
}

/** The read end of a pipe as of a container's output, into which lines are written as far as it takes them. */
function numberedLines() {
  const { read, write } = pipe();
  setNonBlocking(read.number, true);
  setNonBlocking(write.number, true);
  let next = 0;
  return {
    read,
    write,
    /** Writes whole lines until there are `count`, or the pipe is full and nobody will empty it; answers how many there are. */
    async fill(count: number, isStuck = () => false): Promise<number> {
      while (next < count) {
        const line = Buffer.from(`line ${String(next).padStart(95, "0")}\n`);
        if (trySyscall("write", write.number, line, line.length) === line.length) next++;
        else if (isStuck()) break;
        else await Bun.sleep(1);
      }
      return next;
    },
  };
}

/** The numbers of the lines in a log, every line of which must be whole. */
function numbersIn(path: string): number[] {
  const lines = readFileSync(path, "utf8").split("\n");
  expect(lines.pop()).toBe("");
  return lines.map((line) => Number(/^\S{30} stdout F line 0*(\d+)$/.exec(line)?.[1] ?? Number.NaN));
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

test("while the log's disk is full output waits, then its writer; with room again every line is there once", () =>
  onSmallDisk(async (directory, ballast) => {
    const path = join(directory, "0.log");
    const log = new ContainerLog(path);
    const lines = numberedLines();
    const { done } = log.attach("stdout", lines.read.number);
    const written = await lines.fill(10_000, () => log.isHeldBack);
    // The disk, the stage and the pipe have taken what they can.
    expect(written).toBeLessThan(10_000);
    expect(numbersIn(path)).toEqual(upTo(numbersIn(path).length));
    renameSync(path, `${path}.1`);
    log.reopen();
    rmSync(ballast);
    syscall("mount", "podrt-test", directory, "tmpfs", MS_REMOUNT, "size=16m");
    const all = await lines.fill(written + 100);
    lines.write.close();
    await done;
    await log.close();
    lines.read.close();
    expect([...numbersIn(`${path}.1`), ...numbersIn(path)]).toEqual(upTo(all));
  }));

test("what a container has left in its pipe is written after its end, once there is room", () =>
  onSmallDisk(async (directory) => {
    const path = join(directory, "0.log");
    const log = new ContainerLog(path);
    const lines = numberedLines();
    const source = log.attach("stdout", lines.read.number);
    const written = await lines.fill(10_000, () => log.isHeldBack);
    lines.write.close();
    expect(source.isHeldBack).toBe(true);
    syscall("mount", "podrt-test", directory, "tmpfs", MS_REMOUNT, "size=16m");
    await source.done;
    await log.close();
    lines.read.close();
    expect(numbersIn(path)).toEqual(upTo(written));
  }));
