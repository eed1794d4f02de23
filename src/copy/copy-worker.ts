// SPDX-License-Identifier: Apache-2.0
import { createTarReader } from "../image/tar-reader.ts";
import { hearAbort, serveJobs } from "../lib/worker-pool.ts";
import { writeAll } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import type { CopySummary } from "./copy-bounds.ts";
import { ownerOutside } from "./owner-map.ts";
import { readTree } from "./read-tree.ts";
import { openTarget } from "./tree-place.ts";
import { createTreeWriter } from "./write-tree.ts";

/** Copies make system calls all the time, and wait in them for whoever is slow: not on the daemon's thread. */
export type CopyJob = {
  /** Of the container; open until the job is done. */
  readonly rootFd: number;
  readonly path: string;
  /** What messages call the path. */
  readonly shown: string;
  readonly mappings?: IdMappings | undefined;
} & (
  | { readonly kind: "read"; readonly followLink: boolean; readonly outputFd: number }
  /** `topName` as in TreeWriterOptions. */
  | { readonly kind: "write"; readonly topName: string | undefined; readonly inputFd: number }
);

const CHUNK_BYTES = 256 * 1024;

serveJobs<CopyJob, CopySummary>(async (job, signal) => {
  if (job.kind === "read") return readTree(job, (bytes) => writeAll(job.outputFd, bytes), signal);
  return writeTree(job, signal);
});

async function writeTree(
  job: CopyJob & { readonly kind: "write" },
  signal: AbortSignal,
): Promise<CopySummary> {
  const { rootFd, path, shown, topName, mappings, inputFd } = job;
  // An archive with any names has no one name that could be replaced.
  using target = openTarget(rootFd, topName === undefined ? `${path}/` : path, shown);
  using writer = createTreeWriter({
    target,
    topName,
    adapt(entry) {
      const owner = ownerOutside(entry, mappings);
      return owner === undefined ? undefined : { ...entry, ...owner };
    },
  });
  const reader = createTarReader(writer);
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    signal.throwIfAborted();
    const count = syscall("read", inputFd, buffer, buffer.length);
    if (count === 0) break;
    reader.push(buffer.subarray(0, count));
    await hearAbort();
  }
  reader.finish();
  return writer.finish();
}
