// SPDX-License-Identifier: Apache-2.0
import type { Table } from "./table.ts";

/** A table that also finds its records by what they belong to, without a look at the others. */
export interface IndexedTable<T> extends Table<T> {
  /** The records of `owner`, in the order in which they came. */
  of(owner: string): T[];
}

/** `ownerOf` a record never changes. */
export function indexTable<T>(table: Table<T>, ownerOf: (record: T) => string): IndexedTable<T> {
  /** Keys by owner. */
  const index = new Map<string, Set<string>>();
  const note = (key: string, record: T) => {
    const owner = ownerOf(record);
    const keys = index.get(owner);
    if (keys === undefined) index.set(owner, new Set([key]));
    else keys.add(key);
  };
  for (const key of table.keys()) note(key, table.get(key) as T);
  return {
    ...table,
    put(key, record) {
      table.put(key, record);
      note(key, record);
    },
    delete(key) {
      const record = table.get(key);
      table.delete(key);
      if (record === undefined) return;
      const owner = ownerOf(record);
      const keys = index.get(owner);
      keys?.delete(key);
      if (keys?.size === 0) index.delete(owner);
    },
    of: (owner) => [...(index.get(owner) ?? [])].map((key) => table.get(key) as T),
  };
}
