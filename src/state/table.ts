// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import { syncDatabase } from "./sync.ts";

/** The tables of the state database. */
export type TableName =
  | "sandboxes"
  | "containers"
  | "container_specs"
  | "sandbox_configs"
  | "images"
  | "layers"
  | "leases"
  | "pods"
  | "settings";

/**
 * One table of JSON records by key, held in memory whole: reads never touch the disk, and a write
 * returns only when the database has it: it then survives the daemon's death, and after `sync` a power
 * loss. Records are replaced, never changed in place. Nanosecond
 * times are kept as decimal strings, since they pass 2^53.
 */
export interface Table<T> {
  get(key: string): T | undefined;
  put(key: string, record: T): void;
  delete(key: string): void;
  keys(): IterableIterator<string>;
  list(): T[];
  /** Resolves when everything that was put and deleted so far survives a power loss. */
  sync(): Promise<void>;
}

/** Fields that never change once they are set, kept in a table of their own so that updates stay small. */
export interface FixedPart {
  readonly table: TableName;
  readonly fields: readonly string[];
}

/** Loads `name` from the database. A row that is no JSON is reported by `onCorrupt` and left alone. */
export function openTable<T>(
  database: Database,
  name: TableName,
  onCorrupt: (key: string) => void = () => {},
  fixed?: FixedPart,
): Table<T> {
  const main = openRows(database, name);
  const rest = fixed === undefined ? undefined : openRows(database, fixed.table);
  const records = load<T>(main, rest, onCorrupt);
  const isFixed = new Set(fixed?.fields ?? []);
  const write = (key: string, record: T) => {
    if (fixed === undefined || rest === undefined) return main.put(key, record);
    const known = records.get(key) as Record<string, unknown> | undefined;
    const fields = record as Record<string, unknown>;
    const changed = known === undefined || fixed.fields.some((field) => known[field] !== fields[field]);
    const [kept, changing] = split(fields, isFixed);
    if (!changed) return main.put(key, changing);
    database.transaction(() => {
      rest.put(key, kept);
      main.put(key, changing);
    })();
  };
  return {
    get: (key) => records.get(key),
    put(key, record) {
      write(key, record);
      records.set(key, record);
    },
    delete(key) {
      if (!records.has(key)) return;
      main.delete(key);
      rest?.delete(key);
      records.delete(key);
    },
    keys: () => records.keys(),
    list: () => [...records.values()],
    sync: () => syncDatabase(database.filename),
  };
}

interface Rows {
  all(): { key: string; record: string }[];
  put(key: string, record: unknown): void;
  delete(key: string): void;
}

function openRows(database: Database, name: TableName): Rows {
  const upsert = database.query(
    `INSERT INTO ${name} (key, record) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET record = ?2`,
  );
  const remove = database.query(`DELETE FROM ${name} WHERE key = ?1`);
  return {
    all: () => database.query(`SELECT key, record FROM ${name}`).all() as { key: string; record: string }[],
    put: (key, record) => void upsert.run(key, JSON.stringify(record)),
    delete: (key) => void remove.run(key),
  };
}

function load<T>(main: Rows, rest: Rows | undefined, onCorrupt: (key: string) => void): Map<string, T> {
  const records = new Map<string, T>();
  const fixedParts = new Map(rest?.all().map(({ key, record }) => [key, record]));
  for (const { key, record } of main.all()) {
    try {
      const fixedPart = fixedParts.get(key);
      const changing = JSON.parse(record);
      records.set(key, (fixedPart === undefined ? changing : { ...changing, ...JSON.parse(fixedPart) }) as T);
    } catch {
      onCorrupt(key);
    }
  }
  // A deletion that was cut short leaves a fixed part that belongs to nothing.
  const known = new Set(main.all().map(({ key }) => key));
  for (const key of fixedParts.keys()) if (!known.has(key)) rest?.delete(key);
  return records;
}

function split(record: Record<string, unknown>, isFixed: ReadonlySet<string>): [object, object] {
  const entries = Object.entries(record);
  return [
    Object.fromEntries(entries.filter(([field]) => isFixed.has(field))),
    Object.fromEntries(entries.filter(([field]) => !isFixed.has(field))),
  ];
}
