// SPDX-License-Identifier: Apache-2.0
import { O_RDWR, O_TMPFILE } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import type { OutputChunk } from "./output.ts";

/** What one file, and all files together, may have. */
export interface SpillLimits {
  readonly fileBytes: number;
  readonly totalBytes: number;
}

/** Before each chunk: its length, and in the lowest bit whether it is of stderr. */
const HEADER_BYTES = 4;

let totalBytes = 0;

/** A queue of output in a file without a name, which the kernel removes with its descriptor. */
export class SpillFile {
  readonly #fd: Fd;
  readonly #limits: SpillLimits;
  #written = 0;
  #taken = 0;

  /** Makes the file in `directory`; a SyscallError where that cannot be. */
  constructor(directory: string, limits: SpillLimits) {
    this.#limits = limits;
    this.#fd = open(directory, O_TMPFILE | O_RDWR, 0o600);
  }

  get isEmpty(): boolean {
    return this.#taken === this.#written;
  }

  /** False when the chunk has no room within the limits. */
  append({ stream, data }: OutputChunk): boolean {
    const size = HEADER_BYTES + data.length;
    if (this.#written + size > this.#limits.fileBytes) return false;
    if (totalBytes + size > this.#limits.totalBytes) return false;
    const header = new Uint8Array(HEADER_BYTES);
    new DataView(header.buffer).setUint32(0, data.length * 2 + (stream === "stderr" ? 1 : 0), true);
    this.#writeAll(header);
    this.#writeAll(data);
    return true;
  }

  /** The oldest chunk, which is there unless the file is empty. */
  take(): OutputChunk {
    const header = new DataView(this.#read(HEADER_BYTES).buffer).getUint32(0, true);
    return { stream: header % 2 === 1 ? "stderr" : "stdout", data: this.#read(Math.floor(header / 2)) };
  }

  close(): void {
    totalBytes -= this.#written;
    this.#written = 0;
    this.#taken = 0;
    this.#fd.close();
  }

  #writeAll(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      const count = syscall("pwrite64", this.#fd.number, rest, rest.length, this.#written);
      rest = rest.subarray(count);
      this.#written += count;
      totalBytes += count;
    }
  }

  #read(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const count = syscall("pread64", this.#fd.number, bytes.subarray(done), length - done, this.#taken);
      if (count === 0) throw new Error("a file of waiting output ended early");
      done += count;
      this.#taken += count;
    }
    return bytes;
  }
}
