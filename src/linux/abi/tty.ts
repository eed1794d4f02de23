// SPDX-License-Identifier: Apache-2.0
// Constants and structures of include/uapi/asm-generic/ioctls.h and termios.h.

export const TIOCSCTTY = 0x540e;
export const TIOCSWINSZ = 0x5414;
export const TIOCSPTLCK = 0x40045431;
export const TIOCGPTPEER = 0x5441;

/** struct winsize: rows, columns, and two unused pixel sizes. */
export function windowSize(width: number, height: number): Uint8Array {
  return new Uint8Array(new Uint16Array([height, width, 0, 0]).buffer);
}
