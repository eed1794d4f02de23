// SPDX-License-Identifier: Apache-2.0
import { hasColors, type Io } from "./io.ts";

const GAP = "   ";

/** Rows under headings, each column as wide as its widest cell; ends with a newline. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows];
  const widths = widthsOf(lines);
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

/**
 * The same without colours in at most `room` columns of a terminal: what does not fit is left out from the right, and
 * the first column, of names, is shortened only where it would have more than half of the room.
 */
export function formatTableWithin(
  room: number,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const [nameWidth = 0, ...others] = widthsOf([headings, ...rows]);
  let nameRoom = room;
  let shown = 0;
  for (const other of others) {
    const left = nameRoom - GAP.length - other;
    if (left < Math.min(nameWidth, room / 2)) break;
    nameRoom = left;
    shown++;
  }
  const cells = (line: readonly string[]) => line.slice(0, 1 + shown);
  return formatTable(
    [cutTo(headings[0] ?? "", nameRoom), ...cells(headings).slice(1)],
    rows.map((row) => [endOf(row[0] ?? "", nameRoom), ...cells(row).slice(1)]),
  );
}

function widthsOf(lines: readonly (readonly string[])[]): number[] {
  const [headings = []] = lines;
  return headings.map((_, column) => Math.max(...lines.map((line) => width(line[column] ?? ""))));
}

/** Stands for what was left out. */
const CUT = "~";

/** At most `width` columns of a line without colours; one that was cut ends with `~`. */
export function cutTo(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  let cut = "";
  for (const character of text) {
    if (Bun.stringWidth(cut + character) >= width) break;
    cut += character;
  }
  return width > 0 ? `${cut}${CUT}` : "";
}

/** The narrowest last column whose text is broken between words; a terminal that has less room breaks it anywhere. */
const LEAST_TEXT = 24;

/**
 * Rows whose last cell is a text: it goes on below itself where a terminal of `room` columns would break it anywhere. What
 * is to be copied from there `isWhole`: the terminal joins what it broke itself.
 */
export function wrapLast(
  room: number | undefined,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  isWhole: (text: string) => boolean = () => false,
): string[][] {
  const before = widthsOf([headings, ...rows]).slice(0, -1);
  const left = (room ?? 0) - before.reduce((sum, width) => sum + width + GAP.length, 0);
  if (left < LEAST_TEXT) return rows.map((row) => [...row]);
  return rows.flatMap((row) => {
    const text = row.at(-1) ?? "";
    const lines = isWhole(text) ? [text] : Bun.wrapAnsi(text, left, { hard: true }).split("\n");
    return lines.map((line, index) => [
      ...before.map((_, column) => (index === 0 ? row[column]! : "")),
      line,
    ]);
  });
}

/** The same from the other side, where the end tells names apart; one that was cut begins with `~`. */
function endOf(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  const reversed = (one: string) => [...one].toReversed().join("");
  return reversed(cutTo(reversed(text), width));
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
