// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import type { TableName } from "./table.ts";

/** One row of a damaged database that could be read. */
export interface SalvagedRow {
  readonly table: TableName;
  readonly key: string;
  readonly record: string;
}

/**
 * Reads what can be read of the damaged database at `path`: each table from its beginning up to the first page that is
 * broken, and from its end down to the last one. What the rows say is for whoever loads them to check.
 */
export function salvageRows(path: string, tables: readonly TableName[]): SalvagedRow[] {
  let database: Database;
  try {
    database = new Database(path, { strict: true });
  } catch {
    return [];
  }
  try {
    return tables.flatMap((table) => {
      const rows = new Map<string, string>();
      for (const order of ["ASC", "DESC"]) readUntilBroken(database, table, order, rows);
      return [...rows].map(([key, record]) => ({ table, key, record }));
    });
  } finally {
    database.close();
  }
}

function readUntilBroken(
  database: Database,
  table: TableName,
  order: string,
  rows: Map<string, string>,
): void {
  try {
    const query = database.query(`SELECT key, record FROM ${table} ORDER BY key ${order}`);
    for (const row of query.iterate()) {
      const { key, record } = row as { key: unknown; record: unknown };
      if (typeof key !== "string" || typeof record !== "string") continue;
      if (rows.has(key) && order === "DESC") return;
      rows.set(key, record);
    }
  } catch {
    // What lies beyond is lost.
  }
}
