// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { O_RDONLY } from "./abi/fcntl.ts";
import { open } from "./fd.ts";
import { syscall } from "./syscall.ts";

const CHUNK_BYTES = 64 * 1024;

/** Read and decoded within one synchronous step, so one is enough. */
let buffer: Buffer | undefined;

/**
 * The text of a file that the kernel makes up, such as those of /proc and cgroups; a SyscallError where it cannot be
 * read. `readFileSync` takes a quarter of a megabyte of memory anew for each of these few bytes.
 */
export function readKernelFile(path: string): string {
  buffer ??= Buffer.alloc(CHUNK_BYTES);
  using file = open(path, O_RDONLY);
  let text = "";
  for (;;) {
    const count = syscall("read", file.number, buffer, buffer.length);
    if (count === 0) return text;
    text += buffer.toString("utf8", 0, count);
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
