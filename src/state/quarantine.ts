// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * A directory for what is damaged and cannot be fetched again: rows of the state database, and the database itself.
 * Nobody reads it but people.
 */
export interface Quarantine {
  /** Writes `content` to a new file whose name ends with `name`; answers its path. */
  keep(name: string, content: string): string;
  /** Moves a database here, with its log; answers its path. */
  keepDatabase(path: string): string;
}

/** The oldest go when there are more. */
const MAX_FILES = 32;
const UNSAFE = /[^A-Za-z0-9_.-]/g;

export function openQuarantine(directory: string): Quarantine {
  let count = 0;
  const place = (name: string): string => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Names in the order of time; the counter keeps those of one millisecond apart.
    const files = readdirSync(directory).sort();
    for (const file of files.slice(0, Math.max(0, files.length - MAX_FILES + 1)))
      rmSync(join(directory, file));
    const time = new Date().toISOString().replace(/[:.]/g, "-");
    return join(
      directory,
      `${time}-${String(count++).padStart(3, "0")}-${name.replace(UNSAFE, "_").slice(0, 120)}`,
    );
  };
  return {
    keep(name, content) {
      const path = place(name);
      writeFileSync(path, content, { mode: 0o600 });
      return path;
    },
    keepDatabase(path) {
      const target = place(basename(path));
      renameSync(path, target);
      // Together they are the database: SQLite finds the log by the name.
      if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${target}-wal`);
      rmSync(`${path}-shm`, { force: true });
      return target;
    },
  };
}
