// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../errors.ts";
import { TAR_END, tarHeader, tarPadding } from "../image/tar-writer.ts";
import { hearAbort } from "../lib/worker-pool.ts";
import { O_NOFOLLOW, O_RDONLY } from "../linux/abi/fcntl.ts";
import { open, writeAll } from "../linux/fd.ts";
import { statFd } from "../linux/path.ts";
import { syscall } from "../linux/syscall.ts";

/** A regular file of the daemon's own with its name in the archive; a name that ends with / is a directory. */
export interface ArchiveMember {
  readonly name: string;
  readonly file: string;
}

const CHUNK_BYTES = 1 << 20;

/** Writes the files as members of a tar, readable by root only, and sees that they are on the disk. */
export async function writeArchive(
  members: readonly ArchiveMember[],
  outputFd: number,
  signal?: AbortSignal,
): Promise<void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (const { name, file } of members) {
    signal?.throwIfAborted();
    if (name.endsWith("/")) {
      writeAll(outputFd, header(name, 0));
      continue;
    }
    using source = open(file, O_RDONLY | O_NOFOLLOW);
    const { size } = statFd(source.number);
    writeAll(outputFd, header(name, size));
    for (let left = size; left > 0; ) {
      signal?.throwIfAborted();
      const count = syscall("read", source.number, buffer, Math.min(left, buffer.length));
      if (count === 0) throw new InternalError(`${file} became shorter while it was read`);
      writeAll(outputFd, buffer.subarray(0, count));
      left -= count;
      await hearAbort();
    }
    writeAll(outputFd, new Uint8Array(tarPadding(size)));
  }
  writeAll(outputFd, TAR_END);
  syscall("fsync", outputFd);
}

function header(name: string, sizeBytes: number): Uint8Array {
  const isDirectory = name.endsWith("/");
  return tarHeader({
    path: name,
    type: isDirectory ? "directory" : "file",
    linkPath: "",
    mode: isDirectory ? 0o700 : 0o600,
    uid: 0,
    gid: 0,
    sizeBytes,
    mtimeSeconds: Math.floor(Date.now() / 1000),
    mtimeNanoseconds: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: new Map(),
  });
}
