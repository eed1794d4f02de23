// SPDX-License-Identifier: Apache-2.0
import type * as v from "valibot";
import { configSchema } from "./schema.ts";

/** What valibot has found, in words for who writes the file; checks of podrt's own have theirs. */
export function problemWords({ message, type, expected, received, path }: v.BaseIssue<unknown>): string {
  if (!message.startsWith("Invalid ")) return message;
  if (type === "strict_object" && expected === "never") {
    const keys = keysBeside(path ?? []);
    return `there is no such key${keys.length === 0 ? "" : `; here may be ${keys.join(", ")}`}`;
  }
  return expected === null ? message : `expected ${expected.replaceAll(" | ", " or ")}, got ${received}`;
}

/** The keys that the table has in which the last of `path` stands. */
function keysBeside(path: readonly { readonly key?: unknown }[]): string[] {
  let table: unknown = configSchema;
  for (const { key } of path.slice(0, -1)) {
    const entries = entriesOf(table);
    // Of what has names of the author's choice, each is alike.
    table = entries[String(key)] ?? (table as { readonly value?: unknown } | undefined)?.value;
  }
  return Object.keys(entriesOf(table));
}

/** Of a table that may be left out or be checked further, its own entries. */
function entriesOf(schema: unknown): Readonly<Record<string, unknown>> {
  const { entries, wrapped, pipe } = (schema ?? {}) as {
    readonly entries?: Record<string, unknown>;
    readonly wrapped?: unknown;
    readonly pipe?: readonly unknown[];
  };
  if (entries !== undefined) return entries;
  if (wrapped !== undefined) return entriesOf(wrapped);
  return pipe?.[0] === undefined || pipe[0] === schema ? {} : entriesOf(pipe[0]);
}
