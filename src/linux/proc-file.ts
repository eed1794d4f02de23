// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { AT_FDCWD, O_RDONLY } from "./abi/fcntl.ts";
import { type Fd, open } from "./fd.ts";
import { syscall } from "./syscall.ts";

const CHUNK_BYTES = 64 * 1024;

/** Read and decoded within one synchronous step, so one is enough. */
let buffer: Buffer | undefined;

/**
 * The text of a file that the kernel makes up, such as those of /proc and cgroups; a SyscallError where it cannot be
 * read. It ends after `mostCharacters`, but not before what the kernel gives at once does. `readFileSync` takes a quarter
 * of a megabyte of memory anew for each of these few bytes.
 */
export function readKernelFile(
  path: string,
  directory = AT_FDCWD,
  mostCharacters = Number.POSITIVE_INFINITY,
): string {
  buffer ??= Buffer.alloc(CHUNK_BYTES);
  using file = open(path, O_RDONLY, 0, directory);
  let text = "";
  for (;;) {
    const count = syscall("read", file.number, buffer, buffer.length);
    if (count === 0 || text.length >= mostCharacters) return text;
    text += buffer.toString("utf8", 0, count);
  }
}

/**
 * The text of such a file that is open, from its beginning, of those that the kernel makes as a whole: most files of
 * cgroups, which is why nothing is read after the first part that leaves room.
 */
export function readFromStart(file: Fd): string {
  buffer ??= Buffer.alloc(CHUNK_BYTES);
  let text = "";
  for (let offset = 0; ; ) {
    const count = syscall("pread64", file.number, buffer, buffer.length, offset);
    text += buffer.toString("utf8", 0, count);
    if (count < buffer.length) return text;
    offset += count;
  }
}

/** The text of a file of /proc or /sys; empty where it is gone, as its process may be, or may not be read. */
export function procText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
