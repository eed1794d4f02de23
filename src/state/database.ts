// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { InternalError, messageOf, PodrtError } from "../errors.ts";
import { migrate, refuseNewerSchema } from "./migrate.ts";

/**
 * Opens the state database and brings its schema up to date; that of a newer podrt is refused.
 *
 * WAL with synchronous=NORMAL: a commit survives the death of the process at any instruction; after
 * a power loss the last commits may be missing, never half of one, never an earlier one. What must not be
 * missing is waited for with `Table.sync`.
 */
export function openDatabase(path: string): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  using opened = new DisposableStack();
  try {
    const database = opened.use(new Database(path, { create: true, strict: true }));
    refuseNewerSchema(database, path);
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    database.run("PRAGMA busy_timeout = 2000");
    migrate(database, path);
    opened.move();
    return database;
  } catch (error) {
    if (error instanceof PodrtError) throw error;
    throw new InternalError(`cannot open the state database ${path}: ${messageOf(error)}`, { cause: error });
  }
}
