// SPDX-License-Identifier: Apache-2.0
import type { Io } from "../io.ts";
import { formatTable, formatTableWithin, type Painter, painter } from "../table.ts";
import { UsageError } from "../usage-error.ts";
import { type Output, templateText } from "./format.ts";
import { fillTemplate, parseTemplate } from "./template.ts";

/** A column of a table: its heading and what it shows of a row. */
export interface Column<R> {
  readonly heading: string;
  readonly cell: (row: R, look: Look) => string;
  /** Whether it is only in the wide table. */
  readonly wide?: true;
}

/** How cells are shown. */
export interface Look {
  readonly paint: Painter;
  /** Whether what is long is shown whole. */
  readonly isWide: boolean;
}

/** How rows of one kind are printed. */
export interface Listing<R> {
  readonly columns: readonly Column<R>[];
  /** What JSON, YAML and templates have of a row: plain values. */
  readonly object: (row: R) => object;
  /** What other commands take for it. */
  readonly name: (row: R) => string;
}

interface Asked {
  readonly io: Io;
  readonly output: Output;
}

/** Prints rows as `-o` says. */
export async function printRows<R>(
  { io, output }: Asked,
  rows: readonly R[],
  listing: Listing<R>,
): Promise<void> {
  await io.out(await rowsText(io, output, rows, listing));
}

/** Rows as `-o` says; a table without colours is brought into at most `width` columns where that is given. */
export async function rowsText<R>(
  io: Io,
  output: Output,
  rows: readonly R[],
  { columns, object, name }: Listing<R>,
  width?: number,
): Promise<string> {
  if (output === "name") return rows.map((row) => `${name(row)}\n`).join("");
  if (output === "table" || output === "wide") {
    const look: Look = { paint: painter(io), isWide: output === "wide" };
    const shown = columns.filter(({ wide }) => look.isWide || wide === undefined);
    const cells = rows.map((row) => shown.map(({ cell }) => cell(row, look)));
    const headings = shown.map(({ heading }) => heading);
    return width === undefined ? formatTable(headings, cells) : formatTableWithin(width, headings, cells);
  }
  const objects = rows.map(object);
  if (output === "json" || output === "yaml") return await documentText(output, objects);
  return (await Promise.all(objects.map((one) => documentText(output, one)))).join("");
}

/** Prints one document as `-o` says; what is no format of documents is printed as JSON. */
export async function printDocument({ io, output }: Asked, document: object): Promise<void> {
  await io.out(await documentText(output, document));
}

async function documentText(output: Output, document: object): Promise<string> {
  if (output === "yaml") return (await import("yaml")).stringify(document, { lineWidth: 0 });
  if (!output.startsWith("template=")) return `${JSON.stringify(document, null, 2)}\n`;
  try {
    return `${fillTemplate(parseTemplate(templateText(output)), document)}\n`;
  } catch (error) {
    throw new UsageError(`-o ${output}: ${(error as Error).message}`);
  }
}
