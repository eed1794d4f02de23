// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";

/** Rows of each table by their keys. A row that is no JSON is its text. */
export type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

const MAX_ROWS = 20_000;

/** Everything in the state database, read beside the daemon that writes it. */
export function readRecords(path: string): Records {
  using database = new Database(path, { readonly: true, strict: true });
  database.run("PRAGMA busy_timeout = 2000");
  const tables = database.query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
  return Object.fromEntries(
    (tables as { name: string }[]).map(({ name }) => {
      const rows = database.query(`SELECT key, record FROM "${name}" LIMIT ${MAX_ROWS}`).all();
      return [
        name,
        Object.fromEntries(
          (rows as { key: string; record: string }[]).map(({ key, record }) => [key, parse(record)]),
        ),
      ];
    }),
  );
}

function parse(record: string): unknown {
  try {
    return JSON.parse(record);
  } catch {
    return record;
  }
}
