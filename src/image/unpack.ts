// SPDX-License-Identifier: Apache-2.0
import { startWorkerPool } from "../lib/worker-pool.ts";
import type { UnpackRequest, UnpackResult } from "./unpack-layer.ts";

export type { UnpackRequest, UnpackResult } from "./unpack-layer.ts";

/** Unpacks layers on threads of its own, so that the daemon goes on answering meanwhile. */
export interface Unpacker {
  /**
   * Unpacks one layer into an existing, empty directory. When it throws, or `signal` aborts it, nothing
   * writes to the directory any more, and what is in it is for the caller to delete.
   * InvalidArgumentError for a layer that is malformed or tries to leave the directory,
   * ResourceExhaustedError past a bound or when the disk is full, UnimplementedError for sparse files.
   */
  unpack(request: UnpackRequest, signal?: AbortSignal): Promise<UnpackResult>;
  /** Takes no more layers and ends the threads once those under way are done. */
  close(): Promise<void>;
}

/** One more than layers are inflated at once on a small machine: a layer waits for those below it at its end. */
const DEFAULT_WORKERS = 3;
const IDLE_MS = 5_000;

/** Threads start with the first layer and end after some seconds without one. */
export function startUnpacker(workers = DEFAULT_WORKERS): Unpacker {
  const pool = startWorkerPool<UnpackRequest, UnpackResult>({
    entry: "image/unpack-worker.ts",
    workers,
    idleMs: IDLE_MS,
  });
  return { unpack: pool.run, close: pool.close };
}
