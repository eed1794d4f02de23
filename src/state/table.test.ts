// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import * as v from "valibot";
import { JsonText } from "../lib/json-text.ts";
import { MIGRATIONS } from "./migrations.ts";
import { type CorruptRow, openTable } from "./table.ts";

function newDatabase(): Database {
  const database = new Database(":memory:", { strict: true });
  for (const statement of MIGRATIONS) database.run(statement);
  return database;
}

const fixed = { table: "container_specs", fields: ["config"] } as const;

interface Row {
  readonly state: string;
  readonly config: JsonText<object>;
}

test("what was put is there for whoever opens the table next", () => {
  const database = newDatabase();
  openTable<{ n: number }>(database, "images").put("a", { n: 1 });
  const again = openTable<{ n: number }>(database, "images");
  expect(again.get("a")).toEqual({ n: 1 });
  again.delete("a");
  expect(openTable(database, "images").list()).toEqual([]);
});

test("a record that is no object is there as it was", () => {
  const database = newDatabase();
  const values = ["10.1.0.0/24", 6, ["a"], true];
  const table = openTable<unknown>(database, "settings");
  for (const [index, value] of values.entries()) table.put(`k${index}`, value);
  const again = openTable<unknown>(database, "settings");
  expect(values.map((_, index) => again.get(`k${index}`))).toEqual(values);
});

test("the fixed part of a record is written once and joined when loaded", () => {
  const database = newDatabase();
  const table = openTable<Row>(database, "containers", { fixed });
  const config = new JsonText({ image: "x" });
  table.put("a", { state: "created", config });
  table.put("a", { state: "running", config });
  const { record } = database.query("SELECT record FROM containers").get() as { record: string };
  expect(JSON.parse(record)).toEqual({ state: "running" });
  const again = openTable<Row>(database, "containers", { fixed });
  expect(again.get("a")?.state).toBe("running");
  expect(again.get("a")?.config.value).toEqual({ image: "x" });
});

test("a fixed part that is replaced is written again", () => {
  const database = newDatabase();
  const table = openTable<Row>(database, "containers", { fixed });
  table.put("a", { state: "s", config: new JsonText({ v: 1 }) });
  table.put("a", { state: "s", config: new JsonText({ v: 2 }) });
  expect(openTable<Row>(database, "containers", { fixed }).get("a")?.config.value).toEqual({ v: 2 });
});

test("a fixed part without its record, of a deletion cut short, is removed", () => {
  const database = newDatabase();
  openTable<Row>(database, "containers", { fixed }).put("a", { state: "s", config: new JsonText({}) });
  database.run("DELETE FROM containers");
  openTable<Row>(database, "containers", { fixed });
  expect(database.query("SELECT count(*) AS n FROM container_specs").get()).toEqual({ n: 0 });
});

test("a row that is no JSON or no record is put aside, and the others are read", () => {
  const database = newDatabase();
  database.run(`INSERT INTO images VALUES ('bad', '{'), ('other', '{"n":"1"}'), ('good', '{"n":1}')`);
  const schema = v.looseObject({ n: v.number() });
  expect(openTable(database, "images", { schema }).list()).toEqual([{ n: 1 }]);
  const rows: CorruptRow[] = [];
  const putAside = (row: CorruptRow) => void rows.push(row);
  expect(openTable(database, "images", { schema, putAside }).list()).toEqual([{ n: 1 }]);
  expect(rows.map(({ key, text }) => [key, text])).toEqual([
    ["bad", "{"],
    ["other", '{"n":"1"}'],
  ]);
  expect(rows[0]?.problem).toStartWith("it is no JSON");
  expect(rows[1]?.problem).toStartWith("n: ");
  expect(database.query("SELECT key FROM images").all()).toEqual([{ key: "good" }]);
});

test("a damaged row that cannot be put aside stays", () => {
  const database = newDatabase();
  database.run("INSERT INTO images VALUES ('bad', '{')");
  const putAside = () => {
    throw new Error("no space left");
  };
  expect(openTable(database, "images", { putAside }).list()).toEqual([]);
  expect(database.query("SELECT key FROM images").all()).toEqual([{ key: "bad" }]);
});

test("a record without its fixed part is none of the schema", () => {
  const database = newDatabase();
  const schema = v.looseObject({ state: v.string(), config: v.looseObject({}) });
  openTable<Row>(database, "containers", { fixed, schema }).put("a", {
    state: "s",
    config: new JsonText({}),
  });
  database.run("DELETE FROM container_specs");
  const problems: string[] = [];
  const putAside = ({ problem }: CorruptRow) => void problems.push(problem);
  expect(openTable<Row>(database, "containers", { fixed, schema, putAside }).list()).toEqual([]);
  expect(problems[0]).toStartWith("config: ");
});
