// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { type Fd, pipe, setNonBlocking } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import { newStdinWriter } from "./stdin-writer.ts";

function stdin(): { read: Fd; write: Fd } {
  const ends = pipe();
  for (const { number } of [ends.read, ends.write]) setNonBlocking(number, true);
  return ends;
}

function drain(fd: Fd): Buffer {
  const parts: Buffer[] = [];
  const buffer = new Uint8Array(65_536);
  try {
    for (;;) {
      const count = syscall("read", fd.number, buffer, buffer.length);
      if (count === 0) break;
      parts.push(Buffer.from(buffer.subarray(0, count)));
    }
  } catch {
    // Empty for now.
  }
  return Buffer.concat(parts);
}

test("more than a pipe holds gets through, in order, as fast as it is read", async () => {
  const { read, write } = stdin();
  const writer = newStdinWriter(write);
  const data = Buffer.from(Array.from({ length: 400_000 }, (_, index) => index % 251));
  let isWritten = false;
  const written = writer.write(data).then(() => {
    isWritten = true;
  });
  const tail = writer.write(Buffer.from("tail"));
  await Bun.sleep(20);
  expect(isWritten).toBe(false);
  const parts: Buffer[] = [];
  while (!isWritten) {
    parts.push(drain(read));
    await Bun.sleep(1);
  }
  await Promise.all([written, tail, writer.flushed()]);
  parts.push(drain(read));
  expect(Buffer.concat(parts).equals(Buffer.concat([data, Buffer.from("tail")]))).toBe(true);
  read.close();
  write.close();
});

test("a reader that has gone, a closed descriptor and a stop end a write that waits", async () => {
  const enders: ((ends: { read: Fd; write: Fd }, stop: () => void) => void)[] = [
    ({ read }) => read.close(),
    ({ write }) => write.close(),
    (_ends, stop) => stop(),
  ];
  for (const end of enders) {
    const ends = stdin();
    const writer = newStdinWriter(ends.write);
    const written = writer.write(new Uint8Array(200_000));
    await Bun.sleep(20);
    end(ends, () => writer.stop());
    await written;
    await writer.write(Buffer.from("dropped"));
    await writer.flushed();
    ends.read.close();
    ends.write.close();
  }
});

test("two writers to one pipe do not close it under each other", async () => {
  const { read, write } = stdin();
  const [first, second] = [newStdinWriter(write), newStdinWriter(write)];
  await first.write(Buffer.from("a"));
  first.stop();
  await second.write(Buffer.from("b"));
  expect(drain(read).toString()).toBe("ab");
  read.close();
  write.close();
});
