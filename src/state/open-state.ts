// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import { logger } from "../lib/logger.ts";
import type { Paths } from "../paths.ts";
import { type Damage, newDamage } from "./damage.ts";
import { openDatabase } from "./database.ts";
import { openQuarantine, type Quarantine } from "./quarantine.ts";
import type { CorruptRow } from "./table.ts";

/** The state of an instance on disk, and what becomes of it where it is damaged. */
export interface State {
  readonly database: Database;
  /** For the tables opened from it: keeps a damaged row in the quarantine, and notes that. */
  readonly putAside: (row: CorruptRow) => void;
  readonly damage: Damage;
}

/** Opens the state database as `openDatabase` does; what is damaged goes to the quarantine. */
export function openState(paths: Paths): State {
  const damage = newDamage(logger);
  const quarantine = openQuarantine(paths.quarantineDir);
  const database = openDatabase(paths.database, { quarantine, damage });
  return { database, putAside: rowKeeper(quarantine, damage), damage };
}

function rowKeeper(quarantine: Quarantine, damage: Damage): (row: CorruptRow) => void {
  return ({ table, key, text, problem }) => {
    const file = quarantine.keep(`${table}-${key}.json`, text);
    const sentence = `the record ${key} in ${table} was damaged (${problem}) and is now ${file}: what it was about is taken away`;
    damage.note(`${table} ${key}`, sentence);
  };
}
