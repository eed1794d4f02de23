// SPDX-License-Identifier: Apache-2.0
import { type Dirent, readdirSync } from "node:fs";

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
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
