// SPDX-License-Identifier: Apache-2.0
import { hasColors, type Io } from "./io.ts";

const GAP = "   ";

/** Rows under headings, each column as wide as its widest cell; ends with a newline. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => width(line[column] ?? ""))));
  return lines
    .map((line) => {
      const cells = headings.map((_, column) => {
        const cell = line[column] ?? "";
        return cell + " ".repeat(widths[column]! - width(cell));
      });
      return `${cells.join(GAP).trimEnd()}\n`;
    })
    .join("");
}

/** What a terminal shows of it, in columns; colours take none. */
function width(cell: string): number {
  return Bun.stringWidth(cell);
}

export type Color = keyof typeof CODES;
/** Puts a text into a colour, or leaves it as it is. */
export type Painter = (text: string, color: keyof typeof CODES) => string;

/** Colours that tell sources of lines apart; red is for what is amiss. */
export const sourceColors = ["cyan", "magenta", "green", "yellow", "blue"] as const;

/** Colours where `hasColors` says so. */
export function painter(io: Pick<Io, "color" | "env" | "isTerminal">): Painter {
  if (!hasColors(io)) return (text) => text;
  return (text, color) => `\u001b[${CODES[color]}m${text}\u001b[39m`;
}

const CODES = { red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;
