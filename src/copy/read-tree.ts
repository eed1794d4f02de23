// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, ResourceExhaustedError } from "../errors.ts";
import { cBytes } from "../image/apply-place.ts";
import { quoteName, type TarEntry } from "../image/tar-entry.ts";
import { memberDetails, memberOf, namesIn, tarTypeOf } from "../image/tar-file.ts";
import { TAR_END, tarHeader, tarPadding } from "../image/tar-writer.ts";
import { readXattrs } from "../image/xattr.ts";
import { hearAbort } from "../lib/worker-pool.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { Fd, open } from "../linux/fd.ts";
import { isKernelMade } from "../linux/filesystem-type.ts";
import { type FileStatus, statFd, tryOpenWithoutLinks } from "../linux/path.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import {
  COPY_BOUNDS,
  type CopyBounds,
  type CopyCounter,
  type CopySummary,
  copyCounter,
} from "./copy-bounds.ts";
import { ownerInside } from "./owner-map.ts";
import { CONTENT, openSource, topNameOf } from "./tree-place.ts";

export interface TreeSource {
  /** The directory that is the root of all links. */
  readonly rootFd: number;
  readonly path: string;
  readonly followLink: boolean;
  /** What messages call `path`. */
  readonly shown: string;
  /** Of the user namespace that the files belong to, whose ids the archive gets. */
  readonly mappings?: IdMappings | undefined;
}

/** Takes the archive's bytes, which are the reader's again when it resolves; the wait is the back-pressure. */
export type ArchiveSink = (bytes: Uint8Array) => void | Promise<void>;

const CHUNK_BYTES = 256 * 1024;

/**
 * Writes a file, or a directory with all that is below it, as a tar archive, while others may change it: nothing is
 * followed but the links in `source.path` itself, no file is opened that is not a regular one, and what goes
 * away or becomes something else meanwhile is left out. Sockets are, and what the kernel makes up (/proc, /sys).
 * NotFoundError, FailedPreconditionError for a file that shrinks, ResourceExhaustedError beyond the bounds.
 */
export async function readTree(
  source: TreeSource,
  sink: ArchiveSink,
  signal?: AbortSignal,
  bounds: CopyBounds = COPY_BOUNDS,
): Promise<CopySummary> {
  const { rootFd, path, followLink, shown } = source;
  using top = openSource(rootFd, path, followLink, shown);
  if (isKernelMade(top.number)) {
    throw new FailedPreconditionError(
      `${shown} is made up by the kernel as it is read, and has no size to be copied with; read it by a command, as with \`podrt exec\``,
    );
  }
  const counter = copyCounter(bounds);
  const archive: Archive = { sink, counter, signal, mappings: source.mappings, links: new Map() };
  const name = Buffer.from(topNameOf(path)).toString("latin1");
  const below = await addFile(archive, top, name);
  if (below !== undefined) await addBelow(archive, top, name, below, bounds);
  else if (name === CONTENT) throw new FailedPreconditionError(`${shown} is no directory`);
  await sink(TAR_END);
  return counter.summary();
}

interface Archive {
  readonly sink: ArchiveSink;
  readonly counter: CopyCounter;
  readonly signal: AbortSignal | undefined;
  readonly mappings: IdMappings | undefined;
  /** Of files with several names: the first, by device and inode. */
  readonly links: Map<string, string>;
}

/** Paths in `pending` are relative to `top`; each is opened from there anew, however deep, without a link. */
async function addBelow(
  archive: Archive,
  top: Fd,
  name: string,
  first: Iterable<string>,
  { maxFiles }: CopyBounds,
): Promise<void> {
  const pending: string[] = [];
  const add = (paths: Iterable<string>, prefix: string) => {
    for (const path of paths) {
      pending.push(`${prefix}${path}`);
      if (pending.length > maxFiles) {
        throw new ResourceExhaustedError(`there are more than the ${maxFiles} files that one copy may have`);
      }
    }
  };
  add(first, "");
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    using file = tryOpen(top, path);
    if (file === undefined) {
      archive.counter.leftOut();
      continue;
    }
    const below = await addFile(archive, file, `${name}/${path}`);
    if (below !== undefined) add(below, `${path}/`);
  }
}

/** Undefined for what is not there any more, or is beyond a link now. */
function tryOpen(top: Fd, path: string): Fd | undefined {
  const fd = tryOpenWithoutLinks(top.number, cBytes(path), O_PATH | O_NOFOLLOW);
  if (fd >= 0) return new Fd(fd);
  if (fd === -ERRNO.ENAMETOOLONG) {
    throw new ResourceExhaustedError(`the path ${quoteName(path)} is longer than the kernel takes`);
  }
  if ([ERRNO.ENOENT, ERRNO.ENOTDIR, ERRNO.ELOOP, ERRNO.EXDEV, ERRNO.EAGAIN].includes(-fd as never))
    return undefined;
  throw new SyscallError("openat2", -fd, quoteName(path));
}

/** Adds one file, open with O_PATH; of a directory, answers the names in it. */
async function addFile(archive: Archive, file: Fd, path: string): Promise<string[] | undefined> {
  archive.signal?.throwIfAborted();
  const status = statFd(file.number);
  const type = tarTypeOf(status);
  if (type === undefined) {
    archive.counter.leftOut();
    return undefined;
  }
  if (type === "directory") return addDirectory(archive, file, status, path);
  const identity = `${status.dev} ${status.ino}`;
  const first = status.nlink > 1 ? archive.links.get(identity) : undefined;
  const member = ownedMember(archive, status, path);
  if (first !== undefined) await addMember(archive, { ...member, type: "hardlink", linkPath: first });
  else if (type === "file") await addContent(archive, file, member, status.size);
  else await addMember(archive, { ...member, type, ...memberDetails(type, status, file) });
  if (first === undefined && status.nlink > 1) archive.links.set(identity, path);
  return undefined;
}

async function addDirectory(
  archive: Archive,
  file: Fd,
  status: FileStatus,
  path: string,
): Promise<string[] | undefined> {
  using directory = reopen(file, O_RDONLY | O_DIRECTORY);
  const xattrs = readXattrs(directory.number);
  await addMember(archive, { ...ownedMember(archive, status, `${path}/`), type: "directory", xattrs });
  if (!isKernelMade(file.number)) return [...namesIn(directory, "")];
  archive.counter.leftOut();
  return undefined;
}

async function addContent(archive: Archive, file: Fd, member: TarEntry, sizeBytes: number): Promise<void> {
  const { counter, sink, signal } = archive;
  using content = reopen(file, O_RDONLY | O_NONBLOCK);
  // Before the header: a reader that trusts the size would make room for it.
  counter.bytes(sizeBytes);
  await addMember(archive, { ...member, sizeBytes, xattrs: readXattrs(content.number) });
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, Math.max(1, sizeBytes)));
  for (let left = sizeBytes; left > 0; ) {
    signal?.throwIfAborted();
    const count = syscall("read", content.number, buffer, Math.min(left, buffer.length));
    if (count === 0) {
      throw new FailedPreconditionError(
        `${quoteName(member.path)} became shorter while it was read; try again`,
      );
    }
    await sink(buffer.subarray(0, count));
    left -= count;
    if (signal !== undefined) await hearAbort();
  }
  await sink(new Uint8Array(tarPadding(sizeBytes)));
}

async function addMember({ counter, sink }: Archive, entry: TarEntry): Promise<void> {
  counter.file();
  await sink(tarHeader(entry));
}

function ownedMember({ mappings }: Archive, status: FileStatus, path: string): TarEntry {
  return { ...memberOf(status, path), ...ownerInside(status, mappings) };
}

/** The very file that was looked at, for reading: by its name one might open what has taken its place, a device say. */
function reopen(file: Fd, flags: number): Fd {
  return open(`/proc/self/fd/${file.number}`, flags);
}
