// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDatabase } from "./database.ts";
import { migrate, schemaOf } from "./migrate.ts";
import { MIGRATIONS } from "./migrations.ts";

const directory = mkdtempSync(join(tmpdir(), "podrt-migrate-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** A database as it is today, in a directory of its own, with one image. */
function databaseOf(name: string): { path: string; names: () => string[] } {
  const dir = join(directory, name);
  const path = join(dir, "podrt.db");
  using database = openDatabase(path);
  database.run("INSERT INTO images VALUES ('a', '{\"n\":1}')");
  return { path, names: () => readdirSync(dir).toSorted() };
}

const ADD_TABLE = "CREATE TABLE later (key TEXT PRIMARY KEY)";
const CHANGE_ROWS = "UPDATE images SET record = json_set(record, '$.m', 2)";

test("a new database gets the whole schema, and no copy is kept of nothing", () => {
  const { path, names } = databaseOf("new");
  expect(names()).toEqual(["podrt.db"]);
  using database = openDatabase(path);
  expect(schemaOf(database)).toBe(MIGRATIONS.length);
});

test("an older one gets what it lacks, keeps its rows, and what it was stays beside it", () => {
  const { path, names } = databaseOf("older");
  using database = openDatabase(path);
  migrate(database, path, [...MIGRATIONS, ADD_TABLE]);
  migrate(database, path, [...MIGRATIONS, ADD_TABLE, CHANGE_ROWS]);
  expect(schemaOf(database)).toBe(MIGRATIONS.length + 2);
  expect(database.query("SELECT record FROM images").get()).toEqual({ record: '{"n":1,"m":2}' });
  const copies = names().filter((name) => name.includes(".schema-"));
  expect(copies).toEqual([`podrt.db.schema-${MIGRATIONS.length + 1}`]);
  using copy = new Database(join(directory, "older", copies[0]!), { strict: true });
  expect(schemaOf(copy)).toBe(MIGRATIONS.length + 1);
  expect(copy.query("SELECT record FROM images").get()).toEqual({ record: '{"n":1}' });
});

test("a migration that fails leaves what those before it have done, and is tried again", () => {
  const { path } = databaseOf("failing");
  using database = openDatabase(path);
  const migrations = [...MIGRATIONS, ADD_TABLE, "INSERT INTO later SELECT key FROM nowhere"];
  expect(() => migrate(database, path, migrations)).toThrow("nowhere");
  expect(schemaOf(database)).toBe(MIGRATIONS.length + 1);
  migrate(database, path, [...MIGRATIONS, ADD_TABLE, "INSERT INTO later SELECT key FROM images"]);
  expect(schemaOf(database)).toBe(MIGRATIONS.length + 2);
  expect(database.query("SELECT key FROM later").all()).toEqual([{ key: "a" }]);
});

test("one of a newer podrt is refused with what to do, and not a byte of it changes", () => {
  const { path, names } = databaseOf("newer");
  const newer = MIGRATIONS.length + 3;
  {
    using database = new Database(path, { strict: true });
    database.run(`PRAGMA user_version = ${newer}`);
  }
  const before = readFileSync(path);
  const [first, second] = [
    `schema ${newer}, this one knows ${MIGRATIONS.length}`,
    `schema-${MIGRATIONS.length}`,
  ];
  expect(() => openDatabase(path)).toThrow(new RegExp(`newer podrt \\(${first}\\).*${second}`));
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(names()).toEqual(["podrt.db"]);
});
