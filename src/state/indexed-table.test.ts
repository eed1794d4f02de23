// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { openDatabase } from "./database.ts";
import { indexTable } from "./indexed-table.ts";
import { openTable } from "./table.ts";

interface Thing {
  readonly owner: string;
  readonly value: number;
}

let root: string;
let database: ReturnType<typeof openDatabase>;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-index-"));
  database = openDatabase(join(root, "db"));
});
afterEach(() => {
  database.close();
  rmSync(root, { recursive: true });
});

const open = () => indexTable(openTable<Thing>(database, "containers"), ({ owner }) => owner);

test("what is found by its owner is what a look at all records finds, also after a restart", () => {
  const owners = ["a", "b", "c"];
  const ownerOfKey = (key: number) => owners[key % owners.length] as string;
  const step = fc.record({ key: fc.nat(7), value: fc.nat(), isDeleted: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const table = open();
      for (const { key, value, isDeleted } of steps) {
        if (isDeleted) table.delete(String(key));
        else table.put(String(key), { owner: ownerOfKey(key), value });
      }
      for (const one of [table, open()]) {
        for (const owner of owners)
          expect(one.of(owner)).toEqual(one.list().filter((thing) => thing.owner === owner));
      }
      for (const key of [...table.keys()]) table.delete(key);
      expect(owners.flatMap(table.of)).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

test("a record that cannot be written is not found", () => {
  const table = open();
  database.close();
  expect(() => table.put("1", { owner: "a", value: 1 })).toThrow();
  expect(table.of("a")).toEqual([]);
  database = openDatabase(join(root, "db"));
});
