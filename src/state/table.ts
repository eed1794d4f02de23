// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";

/** The tables of the state database. */
export type TableName = "sandboxes" | "containers" | "images" | "layers" | "leases" | "pods" | "settings";

/**
 * One table of JSON records by key, held in memory whole: reads never touch the disk, and a write
 * returns only when the database has it. Records are replaced, never changed in place. Nanosecond
 * times are kept as decimal strings, since they pass 2^53.
 */
export interface Table<T> {
  get(key: string): T | undefined;
  put(key: string, record: T): void;
  delete(key: string): void;
  keys(): IterableIterator<string>;
  list(): T[];
}

/** Loads `name` from the database. A row that is no JSON is reported by `onCorrupt` and left alone. */
export function openTable<T>(
  database: Database,
  name: TableName,
  onCorrupt: (key: string) => void = () => {},
): Table<T> {
  const records = new Map<string, T>();
  const rows = database.query(`SELECT key, record FROM ${name}`).all() as { key: string; record: string }[];
  for (const { key, record } of rows) {
    try {
      records.set(key, JSON.parse(record) as T);
    } catch {
      onCorrupt(key);
    }
  }
  const upsert = database.query(
    `INSERT INTO ${name} (key, record) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET record = ?2`,
  );
  const remove = database.query(`DELETE FROM ${name} WHERE key = ?1`);
  return {
    get: (key) => records.get(key),
    put(key, record) {
      upsert.run(key, JSON.stringify(record));
      records.set(key, record);
    },
    delete(key) {
      if (!records.has(key)) return;
      remove.run(key);
      records.delete(key);
    },
    keys: () => records.keys(),
    list: () => [...records.values()],
  };
}
