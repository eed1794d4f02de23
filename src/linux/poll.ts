// SPDX-License-Identifier: Apache-2.0
import { syscall } from "./syscall.ts";

export const POLLIN = 1;
export const POLLOUT = 4;

/** struct timespec of no time at all. */
const AT_ONCE = new Uint8Array(16);

/** struct pollfd[1] of poll(2). */
export function pollFd(fd: number, events: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, events, true);
  return bytes;
}

/**
 * True when a descriptor has one of `events` (POLLIN and the like) now, or its other end is closed. By ppoll(2), since
 * not every machine has poll(2).
 */
export function isReady(fd: number, events: number): boolean {
  return syscall("ppoll", pollFd(fd, events), 1, AT_ONCE, null, 0) > 0;
}
