// SPDX-License-Identifier: Apache-2.0
import { assert } from "../lib/assert.ts";
import { O_CLOEXEC, O_RDWR } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { syscall, trySyscall } from "../linux/syscall.ts";
import type { Table } from "./program.ts";

/*
 * A new process is given a copy of the daemon's table of descriptors, which has some for each pod, and closes each of
 * them again when it executes something. One that shares the table (CLONE_FILES) until it unshares it by close_range(2)
 * is given those below the range alone: what it needs has to have a low number, whatever is open already.
 */

/** Above all numbers that a new process puts its descriptors at. */
const FIRST = 16;
const PLACES = 4;
const CLOSE_RANGE_UNSHARE = 2;
const LAST_FD = 0xffff_ffff;

/** The null device, at the first low number that was free, and at those that wait to be lent. */
let nothing: Fd | undefined;
let places: readonly Fd[] = [];

/** Takes low numbers while there are some. */
export function reserveLowFds(): void {
  if (nothing !== undefined) return;
  using device = open("/dev/null", O_RDWR);
  using made = new DisposableStack();
  const first = made.use(device.duplicate(FIRST));
  places = Array.from({ length: PLACES }, () => made.use(first.duplicate(FIRST)));
  nothing = first;
  made.move();
}

/** Descriptors at low numbers, until it is disposed of. */
export interface LowFds extends Disposable {
  /** The null device. */
  readonly nothing: number;
  /** In the order in which they were given. */
  readonly numbers: readonly number[];
  /** Appends the first step of a process that is cloned with CLONE_FILES: from then on it has these and those below. */
  keepOnly(table: Table): void;
}

/** Duplicates of `fds`, four at most, and of one caller at a time. */
export function lendLowFds(fds: readonly Fd[]): LowFds {
  reserveLowFds();
  const { number: empty } = nothing as Fd;
  assert(fds.length <= PLACES, `${fds.length} descriptors at low numbers`);
  const numbers = places.slice(0, fds.length).map(({ number }) => number);
  const giveBack = () => {
    for (const number of numbers) trySyscall("dup3", empty, number, O_CLOEXEC);
  };
  try {
    fds.forEach((fd, index) => {
      syscall("dup3", fd.number, numbers[index] as number, O_CLOEXEC);
    });
  } catch (error) {
    giveBack();
    throw error;
  }
  return {
    nothing: empty,
    numbers,
    keepOnly(table) {
      const first = Math.max(empty, ...numbers) + 1;
      table.step("leave the others to the daemon", "close_range", [first, LAST_FD, CLOSE_RANGE_UNSHARE]);
    },
    [Symbol.dispose]: giveBack,
  };
}
