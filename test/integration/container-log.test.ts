// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openContainerLog } from "../../src/container/log.ts";
import { pipe, setNonBlocking, writeAll } from "../../src/linux/fd.ts";
import { syscall } from "../../src/linux/syscall.ts";

const MNT_DETACH = 2;

test("a disk that fills up costs records but tears none, and logging goes on when there is room", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-log-full-"));
  syscall("mount", "podrt-test", directory, "tmpfs", 0, "size=64k");
  try {
    const path = join(directory, "0.log");
    const ballast = join(directory, "ballast");
    writeFileSync(ballast, new Uint8Array(40_960));
    const log = openContainerLog(path);
    const { read, write } = pipe();
    setNonBlocking(read.number, true);
    let seen = 0;
    log.subscribe((_, chunk) => {
      seen += chunk.length;
    });
    const { done } = log.attach("stdout", read.number);
    let sent = 0;
    const line = (number: number) => Buffer.from(`line ${String(number).padStart(90, "0")}\n`);
    const send = async (numbers: readonly number[]) => {
      const bytes = Buffer.concat(numbers.map(line));
      writeAll(write.number, bytes);
      sent += bytes.length;
      while (seen < sent) await Bun.sleep(0);
    };
    for (let batch = 0; batch < 10; batch++) {
      await send(Array.from({ length: 100 }, (_, i) => batch * 100 + i));
    }
    const dropped = log.droppedBytes;
    expect(dropped).toBeGreaterThan(0);
    rmSync(ballast);
    await send([5000, 5001]);
    write.close();
    await done;
    await log.close();
    read.close();
    expect(log.droppedBytes).toBe(dropped);
    const text = readFileSync(path, "utf8");
    const numbers = [...text.matchAll(/^\S{30} stdout F line 0*(\d+)$/gm)].map((match) => Number(match[1]));
    expect(text.split("\n")).toHaveLength(numbers.length + 1);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(numbers.slice(-2)).toEqual([5000, 5001]);
    const recordBytes = 30 + " stdout F ".length + line(0).length;
    expect(text.length + dropped).toBe(1002 * recordBytes);
  } finally {
    syscall("umount2", directory, MNT_DETACH);
    rmdirSync(directory);
  }
});
