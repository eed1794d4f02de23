// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { messageOf, PodrtError } from "../errors.ts";
import { storageError } from "../lib/storage-error.ts";
import type { Damage } from "./damage.ts";
import { migrate, refuseNewerSchema } from "./migrate.ts";
import type { Quarantine } from "./quarantine.ts";
import { reserveLog } from "./reserve.ts";
import { salvageRows } from "./salvage.ts";
import { TABLE_NAMES } from "./table.ts";

/** Where a damaged database goes, and who is told. */
export interface DamageHandling {
  readonly quarantine: Quarantine;
  readonly damage: Damage;
}

/**
 * Opens the state database and brings its schema up to date; that of a newer podrt is refused.
 *
 * WAL with synchronous=NORMAL: a commit survives the death of the process at any instruction; after
 * a power loss the last commits may be missing, never half of one, never an earlier one. What must not be
 * missing is waited for with `Table.sync`.
 *
 * A file that is no database or a broken one is put aside, and a new one begun with the rows that could be read.
 */
export function openDatabase(path: string, handling?: DamageHandling): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    return openWhole(path);
  } catch (error) {
    if (handling === undefined || !isDamage(error)) throw openError(path, error);
    return startAnew(path, error, handling);
  }
}

function openWhole(path: string): Database {
  const database = new Database(path, { create: true, strict: true });
  try {
    refuseNewerSchema(database, path);
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    database.run("PRAGMA busy_timeout = 2000");
    // Rows are read when the daemon starts, and never again: pages of them, kept, would be of no use. In KiB.
    database.run("PRAGMA cache_size = -128");
    migrate(database, path);
    const { quick_check: verdict } = database.query("PRAGMA quick_check(1)").get() as { quick_check: string };
    if (verdict !== "ok") throw new DamagedError(verdict);
    for (const table of TABLE_NAMES) database.query(`SELECT key, record FROM ${table} LIMIT 1`);
    reserveLog(path);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

class DamagedError extends Error {}

function isDamage(error: unknown): boolean {
  if (error instanceof DamagedError) return true;
  const { code } = error as { code?: unknown };
  // A table that is missing although the schema's version says that it is there.
  if (code === "SQLITE_ERROR") return /^no such (table|column)/.test(messageOf(error));
  return typeof code === "string" && /^SQLITE_(CORRUPT|NOTADB)/.test(code);
}

function startAnew(path: string, reason: unknown, { quarantine, damage }: DamageHandling): Database {
  try {
    const aside = quarantine.keepDatabase(path);
    const rows = salvageRows(aside, TABLE_NAMES);
    const database = openWhole(path);
    database.transaction(() => {
      for (const { table, key, record } of rows)
        database.query(`INSERT INTO ${table} (key, record) VALUES (?1, ?2)`).run(key, record);
    })();
    damage.note(
      "state database",
      `the state database was damaged (${messageOf(reason)}): it is now ${aside}, and a new one has the ${rows.length} rows that could be read; pods whose rows are lost are ended, images must be pulled again`,
    );
    return database;
  } catch (error) {
    throw openError(path, error);
  }
}

function openError(path: string, error: unknown): Error {
  return error instanceof PodrtError ? error : storageError(`open the state database ${path}`, error);
}
