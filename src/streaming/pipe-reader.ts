// SPDX-License-Identifier: Apache-2.0
import { sleep } from "../lib/deadline.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import type { Fd } from "../linux/fd.ts";
import { type InputSignal, inputSignal } from "../linux/input-signal.ts";
import { bytesIn, growPipe, PIPE_BYTES } from "../linux/pipe.ts";
import { trySyscall } from "../linux/syscall.ts";

/*
 * A pipe or a terminal, read with as few calls as its writer allows. One that prints a page at a time would be read a
 * page at a time by who looks whenever something is there, and each piece costs a frame and a write to a client. So
 * after a large piece there is a moment's wait, unless the next large piece is there already, and a pipe that has been
 * full is made larger. After a small one nothing is waited for: that is somebody who types.
 */

/** Before each piece: a frame's head may be put there. */
export const ROOM_BYTES = 16;
const FIRST_BUFFER_BYTES = 16 * 1024;
const LARGE_BUFFER_BYTES = 256 * 1024;
const LARGE_PIECE_BYTES = 32 * 1024;
const GROWN_PIPE_BYTES = 1024 * 1024;
const MOMENT_MS = 1;

/** Reads a descriptor that stays its owner's; one `next` at a time. */
export class PipeReader {
  readonly #fd: Fd;
  readonly #signal: InputSignal;
  #buffer = newBuffer(FIRST_BUFFER_BYTES);
  #wasLarge = false;
  #isGrown = false;
  #isStopped = false;
  #wake = () => {};

  constructor(fd: Fd) {
    this.#fd = fd;
    this.#signal = inputSignal(fd, () => this.#wake());
  }

  /** The next piece, whose bytes are valid until the piece after it is asked for; undefined at the end, and once stopped. */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#wasLarge && !this.#isStopped && bytesIn(this.#fd.number) < LARGE_PIECE_BYTES) {
      await sleep(MOMENT_MS);
    }
    for (let isArmed = false; !this.#isStopped; ) {
      const count = trySyscall("read", this.#fd.number, this.#buffer, this.#buffer.length);
      if (count !== -ERRNO.EAGAIN) {
        this.#signal.disarm();
        return this.#take(count);
      }
      if (isArmed) await this.#signalled();
      else this.#signal.arm();
      isArmed = true;
    }
    return undefined;
  }

  /** Ends a `next` under way. */
  stop(): void {
    this.#isStopped = true;
    this.#signal[Symbol.dispose]();
    this.#wake();
  }

  #signalled(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #take(count: number): Uint8Array | undefined {
    // The master of a terminal whose other side is closed answers EIO: its end of file.
    if (count <= 0) return undefined;
    const piece = this.#buffer.subarray(0, count);
    this.#wasLarge = count >= LARGE_PIECE_BYTES;
    if (count === FIRST_BUFFER_BYTES && this.#buffer.length === count)
      this.#buffer = newBuffer(LARGE_BUFFER_BYTES);
    if (count >= PIPE_BYTES && !this.#isGrown) {
      this.#isGrown = true;
      growPipe(this.#fd.number, GROWN_PIPE_BYTES);
    }
    return piece;
  }
}

function newBuffer(bytes: number): Buffer {
  return Buffer.allocUnsafeSlow(ROOM_BYTES + bytes).subarray(ROOM_BYTES);
}
