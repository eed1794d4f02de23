// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { InternalError, messageOf } from "../errors.ts";
import { MIGRATIONS } from "./migrations.ts";

/**
 * Opens the state database and brings its schema up to date.
 *
 * WAL with synchronous=NORMAL: a commit survives the death of the process at any instruction; after
 * a power loss the last commits may be missing, never half of one.
 */
export function openDatabase(path: string): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const database = new Database(path, { create: true, strict: true });
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    database.run("PRAGMA busy_timeout = 2000");
    migrate(database);
    return database;
  } catch (error) {
    throw new InternalError(`cannot open the state database ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function migrate(database: Database): void {
  const { user_version: version } = database.query("PRAGMA user_version").get() as { user_version: number };
  if (version > MIGRATIONS.length) {
    throw new Error(
      `it was written by a newer podrt (schema ${version}, this one knows ${MIGRATIONS.length})`,
    );
  }
  database.transaction(() => {
    for (const statement of MIGRATIONS.slice(version)) database.run(statement);
    database.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
  })();
}
