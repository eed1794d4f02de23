// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { storageError } from "../lib/storage-error.ts";
import { startWorkerPool } from "../lib/worker-pool.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { isErrno } from "../linux/syscall.ts";
import { measureTreeWithin, removeTree, type TreeUsage } from "../linux/tree.ts";
import type { DiskUsage } from "./snapshotter.ts";
import type { TreeJob, TreeReply } from "./tree-worker.ts";

/** Deletes, measures and syncs directories: small ones at once, the others on a thread. */
export interface TreeKeeper {
  /** Deletes `name` in `directory` with all below it; what is not there is fine. */
  remove(directory: string, name: string): Promise<void>;
  measure(path: string): Promise<DiskUsage>;
  /** What linux/tree-summary.ts says of the directory at `path`. */
  summarize(path: string): Promise<string>;
  /** syncfs(2) on the file system of `path`. */
  sync(path: string): Promise<void>;
  close(): Promise<void>;
}

/** What is deleted or measured without a thread: less than a millisecond's work, as most containers leave. */
const SMALL_INODES = 64;
const SMALL_BYTES = 16 << 20;
/** The layers of an image are deleted side by side, and what a pull has to sync waits for none of them. */
const DELETERS = 2;
const IDLE_MS = 5_000;
/** Who asks for statistics does so again in ten seconds. */
const MEASURING_IDLE_MS = 30_000;

export function startTreeKeeper(): TreeKeeper {
  const newPool = (workers: number, idleMs: number) =>
    startWorkerPool<TreeJob, TreeReply>({ entry: "snapshot/tree-worker.ts", workers, idleMs });
  const pool = newPool(DELETERS, IDLE_MS);
  // Looking through trees may take long: what waits for a deletion must not wait for that.
  const measuring = newPool(1, MEASURING_IDLE_MS);

  async function run(job: TreeJob, what: string): Promise<TreeReply> {
    try {
      return await (job.kind === "measure" || job.kind === "summarize" ? measuring : pool).run(job);
    } catch (error) {
      throw storageError(what, error);
    }
  }

  return {
    async remove(directory, name) {
      const path = join(directory, name);
      const what = `delete ${path}`;
      try {
        using parent = open(directory, O_PATH | O_DIRECTORY);
        if (removeTree(parent.number, name, { maxInodes: SMALL_INODES, maxBytes: SMALL_BYTES })) return;
      } catch (error) {
        throw storageError(what, error);
      }
      await run({ kind: "remove", directory, name }, what);
    },
    async measure(path) {
      const usage = measureIfSmall(path) ?? (await run({ kind: "measure", path }, `measure ${path}`));
      const { usedBytes, inodes } = usage as TreeUsage;
      return { usedBytes, inodesUsed: inodes };
    },
    summarize: async (path) => (await run({ kind: "summarize", path }, `look through ${path}`)) as string,
    async sync(path) {
      await run({ kind: "sync", path }, `write ${path} to disk`);
    },
    async close() {
      await Promise.all([pool.close(), measuring.close()]);
    },
  };
}

function measureIfSmall(path: string): TreeUsage | undefined {
  try {
    using directory = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    return measureTreeWithin(directory, { maxInodes: SMALL_INODES });
  } catch (error) {
    if (isErrno(error, "ENOTDIR", "ELOOP", "ENOENT")) return undefined;
    throw storageError(`measure ${path}`, error);
  }
}
