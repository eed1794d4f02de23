// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { NotFoundError } from "../errors.ts";
import { startTreeKeeper, type TreeKeeper } from "../snapshot/tree-keeper.ts";

/** Bytes on disk, as far as they could be added up. */
export interface Measured {
  readonly bytes: number;
  /** False where something went while it was measured, or took too long. */
  readonly isWhole: boolean;
}

/** Its threads are started when something large is measured, and end by themselves. */
let trees: TreeKeeper | undefined;

/** What is at `path` and below it; nothing where nothing is. */
export async function measureDirectory(path: string): Promise<Measured> {
  if (!existsSync(path)) return { bytes: 0, isWhole: true };
  trees ??= startTreeKeeper();
  return await measured(trees.measure(path));
}

/** What a measurement by others comes to. */
export async function measured(work: Promise<{ readonly usedBytes: number }>): Promise<Measured> {
  try {
    return { bytes: (await work).usedBytes, isWhole: true };
  } catch (error) {
    return { bytes: 0, isWhole: error instanceof NotFoundError };
  }
}

export function sumOf(all: readonly Measured[]): Measured {
  return {
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    isWhole: all.every(({ isWhole }) => isWhole),
  };
}
