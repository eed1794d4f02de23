// SPDX-License-Identifier: Apache-2.0

// What moves the cursor and erases (ECMA-48, and the private modes of xterm's that every terminal of today knows).

export const HOME = "\u001b[H";
/** From the cursor on. */
export const ERASE_LINE = "\u001b[K";
/** From the cursor on. */
export const ERASE_BELOW = "\u001b[J";
/** All of it, also what has scrolled out of sight. */
export const CLEAR_SCREEN = `${HOME}\u001b[2J\u001b[3J`;
/** The other screen, without a cursor, long lines cut instead of wrapped. */
export const ENTER_SCREEN = "\u001b[?1049h\u001b[?25l\u001b[?7l";
export const LEAVE_SCREEN = "\u001b[?7h\u001b[?25h\u001b[?1049l";

/** Of a terminal that does not say. */
export const USUAL_SIZE = { width: 80, height: 24 };

/** To the beginning of the line so many rows above. */
export function lineStart(rows: number): string {
  return rows > 0 ? `\r\u001b[${rows}A` : "\r";
}

/** Light and dark exchanged. */
export function inverse(text: string): string {
  return `\u001b[7m${text}\u001b[27m`;
}
