// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join } from "node:path";

/*
 * Prints what the files of src/linux/abi export, as JSON: numbers, and tables of numbers. A program of its own, so
 * that it can be run with another machine's `process.arch` (bun --define).
 */

const ABI = join(import.meta.dir, "../../src/linux/abi");

/** A number that a file exports, or one in a table that it exports. */
export interface Constant {
  readonly file: string;
  readonly name: string;
  /** Its key, where `name` is a table's. */
  readonly key?: string;
  readonly value: number;
}

async function constantsOf(file: string): Promise<Constant[]> {
  const module: Record<string, unknown> = await import(join(ABI, file));
  return Object.entries(module).flatMap(([name, value]) => {
    if (isNumber(value)) return [{ file, name, value: Number(value) }];
    if (typeof value !== "object" || value === null) return [];
    return Object.entries(value)
      .filter(([, member]) => isNumber(member))
      .map(([key, member]) => ({ file, name, key, value: Number(member) }));
  });
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

if (import.meta.main) {
  const files = readdirSync(ABI).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  console.log(JSON.stringify((await Promise.all(files.map(constantsOf))).flat()));
}
