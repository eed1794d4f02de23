// SPDX-License-Identifier: Apache-2.0
import { type Dirent, readdirSync, statSync } from "node:fs";

/** The names in a directory, sorted; none where there is no such directory. */
export function namesIn(directory: string): string[] {
  return entriesIn(directory)
    .map(({ name }) => name)
    .sort();
}

/** The names of the directories in one, sorted; none where there is no such directory. */
export function directoriesIn(directory: string): string[] {
  return entriesIn(directory)
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}

function entriesIn(directory: string): Dirent[] {
  // Some are asked for in every Status, and an error takes several times as long as this look.
  if (statSync(directory, { throwIfNoEntry: false }) === undefined) return [];
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
