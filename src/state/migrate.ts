// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { FailedPreconditionError } from "../errors.ts";
import { MIGRATIONS } from "./migrations.ts";

/** How many migrations the database has seen; 0 for a new one. */
export function schemaOf(database: Database): number {
  return (database.query("PRAGMA user_version").get() as { user_version: number }).user_version;
}

/** Throws a FailedPreconditionError, with nothing touched, for a schema with more migrations than are known here. */
export function refuseNewerSchema(database: Database, path: string, known = MIGRATIONS.length): void {
  const version = schemaOf(database);
  if (version <= known) return;
  throw new FailedPreconditionError(
    `the state database ${path} was written by a newer podrt (schema ${version}, this one knows ${known}): start that podrt, or put ${copyName(path, known)} in its place if it is there; it knows the pods as they were before the upgrade`,
  );
}

/**
 * Brings the schema up to date, each migration with its number in one transaction, so that a daemon that dies in
 * between goes on where it was. What there was before is kept beside it as `NAME.schema-N`, in place of an earlier copy.
 */
export function migrate(database: Database, path: string, migrations = MIGRATIONS): void {
  const version = schemaOf(database);
  if (version === migrations.length) return;
  if (version > 0) keepCopy(database, path, version);
  migrations.slice(version).forEach((statement, index) => {
    database.transaction(() => {
      database.run(statement);
      database.run(`PRAGMA user_version = ${version + index + 1}`);
    })();
  });
}

function copyName(path: string, version: number): string {
  return `${path}.schema-${version}`;
}

/** The copy has its name once it is whole and on the disk; one of an upgrade that went on later is the one that counts. */
function keepCopy(database: Database, path: string, version: number): void {
  const copy = copyName(path, version);
  const partial = `${copy}.partial`;
  rmSync(partial, { force: true });
  database.query("VACUUM INTO ?1").run(partial);
  const file = openSync(partial, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(partial, copy);
  const earlier = `${basename(path)}.schema-`;
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(earlier) && name !== basename(copy)) rmSync(join(dirname(path), name));
  }
}
