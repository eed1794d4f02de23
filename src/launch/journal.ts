// SPDX-License-Identifier: Apache-2.0
import { O_RDONLY } from "../linux/abi/fcntl.ts";
import { type Fd, open, openIfThere } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";

/*
 * The journal is the truth about a pod's processes. A launch program appends a start record once the
 * kernel has given the child's pid; the monitor appends an exit record when it reaps. A daemon that
 * was away reads what it missed.
 *
 *   record, 40 bytes:  tag | pid | wait status | seconds | nanoseconds   (64-bit little-endian words)
 *   start record       tag of the launch, the pid or -errno of clone3, 0, 0, 0
 *   exit record        tag 0, pid, status of wait4(2), CLOCK_REALTIME
 *
 * An exit without a start is that of a process which made another one in a user namespace (launch/fork.ts).
 */
export const JOURNAL_RECORD_BYTES = 40;

/** The end of a process. */
export interface ChildExit {
  readonly pid: number;
  /** Status word of wait4(2). */
  readonly status: number;
  readonly atNs: bigint;
}

/** What the journal says about one launch. */
export interface LaunchHistory {
  readonly pid: number;
  readonly exit?: ChildExit;
}

// Of all journals, which are read one after the other.
const buffer = new Uint8Array(JOURNAL_RECORD_BYTES * 256);
const view = new DataView(buffer.buffer);

/** A reader of one pod's journal; call `advance` after each ring of the doorbell. */
export class Journal {
  readonly #path: string;
  readonly #histories = new Map<number, LaunchHistory>();
  readonly #tagsByPid = new Map<number, number>();
  #file: Fd;
  #offset = 0;

  /** Opens the journal at `path`; records of `olderPath`, a rotated one, are read first if it exists. */
  constructor(path: string, olderPath: string) {
    this.#path = path;
    this.#file = open(path, O_RDONLY);
    try {
      using older = openIfThere(olderPath, O_RDONLY);
      if (older !== undefined) this.#readFrom(older.number, 0, []);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.#offset;
  }

  /** Reads what was appended since the last call and returns the tags whose process has ended. */
  advance(): number[] {
    const ended: number[] = [];
    this.#offset = this.#readFrom(this.#file.number, this.#offset, ended);
    return ended;
  }

  /** What is known of the launch `tag`; undefined while it has no start record. */
  history(tag: number): LaunchHistory | undefined {
    return this.#histories.get(tag);
  }

  /** Drops a launch that nobody will ask for again. */
  forget(tag: number): void {
    this.#histories.delete(tag);
  }

  /** The file was replaced by an empty one: what was read so far stays known. */
  restart(): void {
    this.#file.close();
    this.#file = open(this.#path, O_RDONLY);
    this.#offset = 0;
  }

  close(): void {
    this.#file.close();
  }

  #readFrom(fd: number, from: number, ended: number[]): number {
    let position = from;
    for (;;) {
      const count = syscall("pread64", fd, buffer, buffer.length, position);
      const whole = count - (count % JOURNAL_RECORD_BYTES);
      for (let at = 0; at < whole; at += JOURNAL_RECORD_BYTES) this.#apply(at, ended);
      position += whole;
      // Less than was asked for is all that there is.
      if (count < buffer.length) return position;
    }
  }

  /** Takes the record at `at` of what was read. */
  #apply(at: number, ended: number[]): void {
    const word = (index: number) => Number(view.getBigInt64(at + index * 8, true));
    const tag = word(0);
    const pid = word(1);
    if (tag !== 0) {
      if (pid <= 0) return;
      this.#histories.set(tag, { pid });
      this.#tagsByPid.set(pid, tag);
      return;
    }
    const owner = this.#tagsByPid.get(pid);
    if (owner === undefined) return;
    this.#tagsByPid.delete(pid);
    const atNs = view.getBigInt64(at + 24, true) * 1_000_000_000n + view.getBigInt64(at + 32, true);
    this.#histories.set(owner, { pid, exit: { pid, status: word(2), atNs } });
    ended.push(owner);
  }
}
