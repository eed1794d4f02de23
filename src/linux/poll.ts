// SPDX-License-Identifier: Apache-2.0
import { syscall } from "./syscall.ts";

export const POLLIN = 1;
export const POLLOUT = 4;

const POLLFD_BYTES = 8;

/** struct timespec of no time at all. */
const AT_ONCE = new Uint8Array(16);

/**
 * True when the descriptor has one of `events` (POLLIN and the like), or an error, within `timeoutMs`; 0 does not wait.
 * By ppoll(2), since poll(2) is not on every machine.
 */
export function isReady(fd: number, events: number, timeoutMs = 0): boolean {
  const entry = new DataView(new ArrayBuffer(POLLFD_BYTES));
  entry.setInt32(0, fd, true);
  entry.setInt16(4, events, true);
  return syscall("ppoll", new Uint8Array(entry.buffer), 1, timespec(timeoutMs), null, 0) > 0;
}

/** struct timespec; the kernel writes what is left of it, so that it is made anew for each call that may wait. */
function timespec(ms: number): Uint8Array {
  if (ms === 0) return AT_ONCE;
  return new Uint8Array(
    new BigInt64Array([BigInt(Math.floor(ms / 1000)), BigInt((ms % 1000) * 1_000_000)]).buffer,
  );
}
