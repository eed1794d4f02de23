// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError } from "../errors.ts";
import { serveJobs } from "../lib/worker-pool.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import { measureTreeWithin, relabelTree, removeTree, type TreeUsage } from "../linux/tree.ts";
import { summarizeTree } from "../linux/tree-summary.ts";

/** What the kernel may take long for, and is therefore not done on the daemon's thread. */
export type TreeJob =
  | { readonly kind: "measure"; readonly path: string }
  /** Deletes `name` in `directory` and all below it. */
  | { readonly kind: "remove"; readonly directory: string; readonly name: string }
  /** Gives what is at `path` and all below it an SELinux context. */
  | { readonly kind: "relabel"; readonly path: string; readonly label: string }
  /** Answers `summarizeTree` of the directory at `path`. */
  | { readonly kind: "summarize"; readonly path: string }
  /** Waits until the file system that `path` is on has written everything. */
  | { readonly kind: "sync"; readonly path: string };

/** Who writes faster than this reads could keep the thread for ever. */
const MEASURE_TIMEOUT_MS = 30_000;

export type TreeReply = TreeUsage | string | undefined;

serveJobs<TreeJob, TreeReply>((job) => {
  switch (job.kind) {
    case "measure": {
      using directory = open(job.path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      const usage = measureTreeWithin(directory, { timeoutMs: MEASURE_TIMEOUT_MS });
      if (usage !== undefined) return usage;
      throw new DeadlineExceededError(`${job.path} is too large to be measured in ${MEASURE_TIMEOUT_MS} ms`);
    }
    case "remove": {
      using directory = open(job.directory, O_PATH | O_DIRECTORY);
      removeTree(directory.number, job.name);
      return undefined;
    }
    case "relabel": {
      using top = open(job.path, O_PATH | O_NOFOLLOW);
      const result = relabelTree(top, job.label);
      // A file system that knows no labels has one for all of its files.
      if (result < 0 && result !== -ERRNO.EOPNOTSUPP) throw new SyscallError("setxattr", -result, job.path);
      return undefined;
    }
    case "summarize": {
      using directory = open(job.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      return summarizeTree(directory);
    }
    case "sync": {
      using file = open(job.path, O_RDONLY);
      syscall("syncfs", file.number);
      return undefined;
    }
  }
});
