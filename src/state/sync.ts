// SPDX-License-Identifier: Apache-2.0
import { open } from "node:fs/promises";
import { InternalError, messageOf } from "../errors.ts";

/**
 * Waits until what was committed to the database at `path` is on disk. Commits are appended to its write-ahead log,
 * which SQLite syncs only before it writes the log's pages back; done here it does not stop the daemon's thread.
 * Locks are on the other files, so that closing this one gives none up (fcntl(2), record locks).
 */
export async function syncDatabase(path: string): Promise<void> {
  try {
    const log = await open(`${path}-wal`, "r");
    try {
      await log.datasync();
    } finally {
      await log.close();
    }
  } catch (error) {
    throw new InternalError(`cannot sync the state database ${path}: ${messageOf(error)}`, { cause: error });
  }
}
