// SPDX-License-Identifier: Apache-2.0
import { unpackLayer } from "../image/unpack-layer.ts";
import { writeLayer } from "../image/write-layer.ts";
import { serveJobs } from "../lib/worker-pool.ts";
import { type ArchiveContent, readArchive } from "./archive-reader.ts";
import { type ArchiveMember, writeArchive } from "./archive-writer.ts";

/** What takes long because of much data, and is therefore not done on the daemon's thread. */
export type ArchiveJob =
  /** Writes upper directories, top first, as one layer to an open file. */
  | { readonly kind: "diff"; readonly directories: readonly string[]; readonly outputFd: number }
  /** Makes an upper directory of a layer. */
  | {
      readonly kind: "apply";
      readonly layer: string;
      readonly upperDir: string;
      readonly lowerDirs?: readonly string[];
    }
  /** Writes the members of an archive, in their order, to an open file. */
  | { readonly kind: "archive"; readonly members: readonly ArchiveMember[]; readonly outputFd: number }
  /** Takes an archive apart into a directory, which exists. */
  | { readonly kind: "read"; readonly archive: string; readonly directory: string };

serveJobs<ArchiveJob, ArchiveContent | undefined>(async (job, signal) => {
  switch (job.kind) {
    case "diff":
      await writeLayer(job.directories, job.outputFd, signal);
      return undefined;
    case "apply": {
      const { layer, upperDir, lowerDirs } = job;
      const mediaType = "application/vnd.oci.image.layer.v1.tar";
      const request = { blobPath: layer, mediaType, targetDir: upperDir };
      await unpackLayer(lowerDirs === undefined ? request : { ...request, lowerDirs }, signal);
      return undefined;
    }
    case "archive":
      await writeArchive(job.members, job.outputFd, signal);
      return undefined;
    case "read":
      return readArchive(job.archive, job.directory, signal);
  }
});
