// SPDX-License-Identifier: Apache-2.0
import { open } from "node:fs/promises";
import { InternalError, messageOf } from "../errors.ts";

/** Of one database: the sync under way, and the one that whoever asks meanwhile waits for. */
interface Turn {
  readonly running: Promise<void>;
  next?: Promise<void>;
}

const turns = new Map<string, Turn>();

/**
 * Waits until what was committed to the database at `path` is on disk. Commits are appended to its write-ahead log,
 * which SQLite syncs only before it writes the log's pages back; done here it does not stop the daemon's thread.
 * All who ask while a sync is under way share the next one: it begins after their commits.
 */
export function syncDatabase(path: string): Promise<void> {
  const turn = turns.get(path);
  if (turn === undefined) return begin(path);
  turn.next ??= turn.running.then(
    () => begin(path),
    () => begin(path),
  );
  return turn.next;
}

function begin(path: string): Promise<void> {
  const turn: Turn = { running: syncLog(path) };
  const end = () => {
    if (turns.get(path) === turn && turn.next === undefined) turns.delete(path);
  };
  turns.set(path, turn);
  turn.running.then(end, end);
  return turn.running;
}

/** Locks are on the other files, so that closing this one gives none up (fcntl(2), record locks). */
async function syncLog(path: string): Promise<void> {
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
