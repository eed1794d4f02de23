// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../container/runtime.ts";
import { DeadlineExceededError } from "../errors.ts";
import { startWorkerPool } from "../lib/worker-pool.ts";
import { pipe, setNonBlocking } from "../linux/fd.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { idleTimer } from "../streaming/idle-timer.ts";
import { readOutputs } from "../streaming/output.ts";
import { newStdinWriter } from "../streaming/stdin-writer.ts";
import { type ContainerRoot, openLiveRoot, openRoot } from "./container-root.ts";
import type { CopySummary } from "./copy-bounds.ts";
import type { CopyJob } from "./copy-worker.ts";

/** Copies at a time: each has a thread. */
const WORKERS = 4;
const WORKER_IDLE_MS = 30_000;
/** A caller that neither takes nor sends anything for so long is given up, since it holds a thread. */
const CALLER_IDLE_MS = 5 * 60_000;

const pool = startWorkerPool<CopyJob, CopySummary>({
  entry: "copy/copy-worker.ts",
  workers: WORKERS,
  idleMs: WORKER_IDLE_MS,
});

export interface CopyOutRequest {
  readonly path: string;
  readonly followLink: boolean;
}

/** A file of a container, or a directory with all that is below it, as a tar archive; see `readTree`. */
export async function* copyOut(
  runtime: Runtime,
  record: ContainerRecord,
  { path, followLink }: CopyOutRequest,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, CopySummary> {
  using root = openRoot(runtime, record);
  const { read, write } = pipe();
  const over = new AbortController();
  const idle = idleTimer(CALLER_IDLE_MS, () => {
    over.abort(idleError());
    output.stop();
  });
  const job = pool
    .run(
      {
        kind: "read",
        ...placeOf(path, root),
        followLink,
        outputFd: write.number,
      },
      AbortSignal.any([signal, over.signal]),
    )
    .finally(() => write.close());
  job.catch(() => {});
  const output = readOutputs([{ stream: "stdout", fd: read }]);
  try {
    for await (const { data } of output.chunks) {
      // A copy: the bytes are somebody else's when the next are asked for.
      yield new Uint8Array(data);
      idle.touch();
    }
    over.signal.throwIfAborted();
    return await job;
  } finally {
    idle.stop();
    over.abort();
    output.stop();
    // It has the root and the pipe until it has ended, which it does once nobody reads.
    await job.catch(() => {});
  }
}

export interface CopyInRequest {
  readonly path: string;
  /** As in TreeWriterOptions. */
  readonly topName: string | undefined;
}

/** Makes files in a running container of the members of a tar archive; see `createTreeWriter`. */
export async function copyIn(
  runtime: Runtime,
  record: ContainerRecord,
  { path, topName }: CopyInRequest,
  archive: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<CopySummary> {
  using root = openLiveRoot(runtime, record);
  const { read, write } = pipe();
  setNonBlocking(write.number, true);
  const input = newStdinWriter(write);
  const over = new AbortController();
  const idle = idleTimer(CALLER_IDLE_MS, () => over.abort(idleError()));
  const job = pool
    .run(
      { kind: "write", ...placeOf(path, root), topName, inputFd: read.number },
      AbortSignal.any([signal, over.signal]),
    )
    .finally(() => {
      read.close();
      input.stop();
    });
  const pass = async () => {
    for await (const data of archive) {
      await input.write(data);
      idle.touch();
    }
  };
  const given = pass();
  given.catch(() => {});
  job.catch(() => {});
  try {
    await Promise.race([given, job, aborted(over.signal)]);
    await Promise.race([input.flushed(), aborted(over.signal)]);
  } catch (error) {
    over.abort(error);
    throw error;
  } finally {
    idle.stop();
    input.stop();
    write.close();
    // It has the root and the pipe until it has ended, which it does once nothing comes any more.
    await job.catch(() => {});
  }
  return await job;
}

function placeOf(
  path: string,
  { fd, name, mappings }: Pick<ContainerRoot, "fd" | "name"> & Pick<CopyJob, "mappings">,
) {
  return { rootFd: fd.number, path, shown: `${path} in container ${name}`, mappings };
}

function idleError(): DeadlineExceededError {
  return new DeadlineExceededError(
    `nothing was copied for ${CALLER_IDLE_MS / 60_000} minutes, so it was given up`,
  );
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
