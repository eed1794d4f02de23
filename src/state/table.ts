// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import * as v from "valibot";
import { messageOf } from "../errors.ts";
import { JsonText } from "../lib/json-text.ts";
import { logger } from "../lib/logger.ts";
import { storageError } from "../lib/storage-error.ts";
import { syncDatabase } from "./sync.ts";

/** The tables of the state database. */
export const TABLE_NAMES = [
  "sandboxes",
  "containers",
  "container_specs",
  "sandbox_configs",
  "images",
  "layers",
  "leases",
  "attachments",
  "pods",
  "cron_jobs",
  "settings",
] as const;

export type TableName = (typeof TABLE_NAMES)[number];

/**
 * One table of JSON records by key, held in memory whole: reads never touch the disk, and a write
 * returns only when the database has it: it then survives the daemon's death, and after `sync` a power
 * loss. Records are replaced, never changed in place. Nanosecond times are kept as decimal strings, since
 * they pass 2^53.
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

/** Fields that hardly ever change, each a `JsonText`, kept in a table of their own so that updates stay small. */
export interface FixedPart {
  readonly table: TableName;
  readonly fields: readonly string[];
}

/** A row that no record can be made of. */
export interface CorruptRow {
  readonly table: TableName;
  readonly key: string;
  /** What stands there, with its fixed part on a line of its own. */
  readonly text: string;
  readonly problem: string;
}

export interface TableOptions {
  readonly fixed?: FixedPart;
  /** What every record has, beside what is of no consequence here. */
  readonly schema?: v.GenericSchema;
  /** Keeps a corrupt row elsewhere: it is then deleted. Without it, or when it throws, the row is left alone. */
  readonly putAside?: ((row: CorruptRow) => void) | undefined;
}

/** Loads `name` from the database; a row that is no JSON, or no record of the schema, is none of the table's. */
export function openTable<T>(database: Database, name: TableName, options: TableOptions = {}): Table<T> {
  const { fixed } = options;
  const main = openRows(database, name);
  const rest = fixed === undefined ? undefined : openRows(database, fixed.table);
  const records = load<T>(name, main, rest, options);
  const isFixed = new Set(fixed?.fields ?? []);
  const write = (key: string, record: T) => {
    if (fixed === undefined || rest === undefined) return main.put(key, JSON.stringify(record));
    const known = records.get(key) as Record<string, unknown> | undefined;
    const fields = record as Record<string, unknown>;
    const changed = known === undefined || fixed.fields.some((field) => known[field] !== fields[field]);
    const changing = JSON.stringify(
      Object.fromEntries(Object.entries(fields).filter(([name]) => !isFixed.has(name))),
    );
    if (!changed) return main.put(key, changing);
    const parts = fixed.fields.map(
      (field) => `${JSON.stringify(field)}:${(fields[field] as JsonText<object>).text}`,
    );
    database.transaction(() => {
      rest.put(key, `{${parts.join(",")}}`);
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
      if (rest === undefined) main.delete(key);
      else
        database.transaction(() => {
          main.delete(key);
          rest.delete(key);
        })();
      records.delete(key);
    },
    keys: () => records.keys(),
    list: () => [...records.values()],
    sync: () => syncDatabase(database.filename),
  };
}

interface Rows {
  all(): { key: string; record: string }[];
  put(key: string, record: string): void;
  delete(key: string): void;
}

function openRows(database: Database, name: TableName): Rows {
  const upsert = database.query(
    `INSERT INTO ${name} (key, record) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET record = ?2`,
  );
  const remove = database.query(`DELETE FROM ${name} WHERE key = ?1`);
  const write = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      throw storageError(`write to the state database ${database.filename}`, error);
    }
  };
  return {
    all: () => database.query(`SELECT key, record FROM ${name}`).all() as { key: string; record: string }[],
    put: (key, record) => write(() => upsert.run(key, record)),
    delete: (key) => write(() => remove.run(key)),
  };
}

function load<T>(
  table: TableName,
  main: Rows,
  rest: Rows | undefined,
  { schema, putAside }: TableOptions,
): Map<string, T> {
  const records = new Map<string, T>();
  const rows = main.all();
  const fixedParts = new Map(rest?.all().map(({ key, record }) => [key, record]));
  for (const { key, record } of rows) {
    const fixedPart = fixedParts.get(key);
    try {
      const changing: unknown = JSON.parse(record);
      if (rest === undefined) {
        if (schema !== undefined) v.parse(schema, changing);
        records.set(key, changing as T);
        continue;
      }
      const kept = JSON.parse(fixedPart ?? "{}") as Record<string, object>;
      if (schema !== undefined) v.parse(schema, { ...(changing as object), ...kept });
      const texts = Object.entries(kept).map(([field, value]) => [field, new JsonText(value)]);
      records.set(key, { ...(changing as object), ...Object.fromEntries(texts) } as T);
    } catch (error) {
      if (putAside === undefined) continue;
      const text = fixedPart === undefined ? record : `${record}\n${fixedPart}`;
      try {
        putAside({ table, key, text, problem: problemOf(error) });
      } catch (failure) {
        logger.error(
          { table, key, err: failure },
          "a damaged row of the state database could not be put aside",
        );
        continue;
      }
      main.delete(key);
      rest?.delete(key);
    }
  }
  // A deletion that was cut short leaves a fixed part that belongs to nothing.
  const known = new Set(rows.map(({ key }) => key));
  for (const key of fixedParts.keys()) if (!known.has(key)) rest?.delete(key);
  return records;
}

function problemOf(error: unknown): string {
  if (!(error instanceof v.ValiError)) return `it is no JSON: ${messageOf(error)}`;
  const [issue] = error.issues;
  return `${v.getDotPath(issue) ?? "the record"}: ${issue.message}`;
}
