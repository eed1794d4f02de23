// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../errors.ts";
import { startWorkerPool } from "../lib/worker-pool.ts";
import { O_CREAT, O_EXCL, O_WRONLY } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import type { ArchiveContent } from "./archive-reader.ts";
import type { ArchiveJob } from "./archive-worker.ts";
import type { ArchiveMember } from "./archive-writer.ts";

const WORKERS = 2;
const IDLE_MS = 30_000;

const pool = startWorkerPool<ArchiveJob, ArchiveContent | undefined>({
  entry: "checkpoint/archive-worker.ts",
  workers: WORKERS,
  idleMs: IDLE_MS,
});

/** What the job was ended for is what is thrown. */
async function run(job: ArchiveJob, signal: AbortSignal): Promise<ArchiveContent | undefined> {
  try {
    return await pool.run(job, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** Writes directories, stacked, top first, in which nothing changes meanwhile to a new file, as a layer. */
export async function captureDirectories(
  directories: readonly string[],
  path: string,
  signal: AbortSignal,
): Promise<void> {
  using output = open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600);
  await run({ kind: "diff", directories, outputFd: output.number }, signal);
}

/** The reverse; `lowerDirs`, top first, are below the directory that is filled. */
export async function fillDirectory(
  layer: string,
  directory: string,
  lowerDirs: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<void> {
  const job = { kind: "apply", layer, upperDir: directory } as const;
  await run(lowerDirs === undefined ? job : { ...job, lowerDirs }, signal);
}

/** Writes a tar of the members to an open file, and to the disk. */
export async function writeMembers(
  members: readonly ArchiveMember[],
  outputFd: number,
  signal: AbortSignal,
): Promise<void> {
  await run({ kind: "archive", members, outputFd }, signal);
}

/** Takes the checkpoint of a container apart into `directory`, which exists. */
export async function readMembers(
  archive: string,
  directory: string,
  signal: AbortSignal,
): Promise<ArchiveContent> {
  const content = await run({ kind: "read", archive, directory }, signal);
  if (content === undefined) throw new InternalError(`${archive} was not read`);
  return content;
}
