// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { FailedPreconditionError, InvalidArgumentError } from "../errors.ts";
import { applyByHandle, applyOwnerAndMode, applyTimes } from "../image/apply-metadata.ts";
import { baseName, cBytes, cleanPath, parentPath } from "../image/apply-place.ts";
import { quoteName, type TarEntry } from "../image/tar-entry.ts";
import type { TarSink } from "../image/tar-reader.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import {
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
} from "../linux/abi/fcntl.ts";
import { S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT } from "../linux/abi/stat.ts";
import { Fd, writeAll } from "../linux/fd.ts";
import { type FileStatus, statFd, tryOpenWithoutLinks, tryStatAt } from "../linux/path.ts";
import { SyscallError, syscall, trySyscall } from "../linux/syscall.ts";
import { COPY_BOUNDS, type CopyBounds, type CopySummary, copyCounter } from "./copy-bounds.ts";
import { forEntry } from "./copy-error.ts";
import { openParents } from "./parents.ts";
import { CONTENT, type CopyTarget } from "./tree-place.ts";

export interface TreeWriterOptions {
  readonly target: Pick<CopyTarget, "directory" | "name">;
  /**
   * What the archive calls its top (`topNameOf`), which is what a target's name replaces; undefined for an archive
   * with any names, which go into the target's directory.
   */
  readonly topName: string | undefined;
  /** The entry with the owner and mode that it is to have here; undefined for a user who cannot be here. */
  readonly adapt: (entry: TarEntry) => TarEntry | undefined;
  readonly bounds?: CopyBounds;
}

/** Makes files of the members of an archive, in their order. */
export interface TreeWriter extends TarSink, Disposable {
  /** All members are there: directories get their modes and times. */
  finish(): CopySummary;
}

const NEW_FILE_MODE = 0o600;
const NEW_DIRECTORY_MODE = 0o700;
const NEW_FILE_FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
const READ_DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

interface Place {
  readonly path: string;
  readonly directoryFd: number;
  readonly name: Uint8Array;
}

/** A file whose content is being written, under a name that goes away with it. */
interface OpenFile {
  readonly fd: Fd;
  readonly entry: TarEntry;
  readonly place: Place;
  readonly temporary: Uint8Array;
}

/**
 * Writes below an open directory, while others may change it: every name is resolved beneath it, without following a
 * link. A file takes the place of another in one step, when it is whole; a directory that is there keeps its owner and
 * mode and what is in it, and nothing else takes its place. Devices are left out. Errors name the entry.
 */
export function createTreeWriter(options: TreeWriterOptions): TreeWriter {
  const { target, adapt } = options;
  const counter = copyCounter(options.bounds ?? COPY_BOUNDS);
  using opened = new DisposableStack();
  const parents = opened.use(openParents(target.directory));
  const owned = opened.move();
  const directories: { readonly path: string; readonly identity: string; readonly entry: TarEntry }[] = [];
  let file: OpenFile | undefined;

  const placeOf = (path: string): Place => ({
    path,
    directoryFd: parents.of(parentPath(path)),
    name: cBytes(baseName(path)),
  });

  function begin(listed: TarEntry): void {
    const path = placedPath(listed.path, options);
    const entry = adapt(listed);
    if (entry === undefined) throw unknownOwner(listed);
    if (path === "" && entry.type === "directory") return;
    if (path === "") throw new InvalidArgumentError("", "the top of the archive is no directory");
    if (entry.type === "char" || entry.type === "block") counter.leftOut();
    else {
      counter.file();
      makeFile(placeOf(path), entry);
    }
  }

  function makeFile(place: Place, entry: TarEntry): void {
    const { directoryFd } = place;
    if (entry.type !== "directory") refuseDirectory(place);
    if (entry.type === "directory") makeDirectory(place, entry);
    else if (entry.type === "file") beginFile(place, entry);
    else if (entry.type === "hardlink") makeHardLink(place, entry);
    else if (entry.type === "symlink") {
      const link = cBytes(entry.linkPath);
      replace(place, (name) => {
        syscall("symlinkat", link, directoryFd, name);
        applyToNew({ ...place, name }, S_IFLNK, entry);
      });
    } else {
      replace(place, (name) => {
        syscall("mknodat", directoryFd, name, S_IFIFO | NEW_FILE_MODE, 0);
        applyToNew({ ...place, name }, S_IFIFO, entry);
      });
    }
  }

  function beginFile(place: Place, entry: TarEntry): void {
    const temporary = temporaryName();
    const number = syscall("openat", place.directoryFd, temporary, NEW_FILE_FLAGS, NEW_FILE_MODE);
    file = { fd: new Fd(number), entry, place, temporary };
  }

  function endFile(): void {
    if (file === undefined) return;
    const { fd, entry, place, temporary } = file;
    applyOwnerAndMode(fd.number, entry);
    applyTimes(fd.number, entry);
    syscall("renameat", place.directoryFd, temporary, place.directoryFd, place.name);
    fd.close();
    file = undefined;
  }

  function makeHardLink(place: Place, entry: TarEntry): void {
    const path = placedPath(entry.linkPath, options);
    using directory = parents.open(parentPath(path));
    const name = cBytes(baseName(path));
    replace(place, (temporary) => {
      syscall("linkat", directory.number, name, place.directoryFd, temporary, 0);
    });
  }

  function makeDirectory(place: Place, entry: TarEntry): void {
    const { directoryFd, name, path } = place;
    const made = trySyscall("mkdirat", directoryFd, name, NEW_DIRECTORY_MODE);
    if (made < 0 && made !== -ERRNO.EEXIST) throw new SyscallError("mkdirat", -made);
    const status = tryStatAt(directoryFd, name);
    if (typeof status === "number") throw new SyscallError("statx", -status);
    if (!isDirectory(status)) {
      throw new FailedPreconditionError(
        `${quoteName(path)} is there already, and no directory; remove it first`,
      );
    }
    // One that does not look like new has been put in its place meanwhile: it stays as it is.
    const isOwn = status.uid === process.geteuid?.() && (status.mode & 0o777) === NEW_DIRECTORY_MODE;
    if (made === 0 && isOwn) directories.push({ path, identity: identityOf(status), entry });
  }

  function finishDirectory({ path, identity, entry }: (typeof directories)[number]): void {
    const fd = tryOpenWithoutLinks(target.directory.number, cBytes(path), READ_DIRECTORY);
    if (fd < 0) return;
    using directory = new Fd(fd);
    if (identityOf(statFd(fd)) !== identity) return;
    applyOwnerAndMode(directory.number, entry);
    applyTimes(directory.number, entry);
  }

  return {
    entry: (entry) => forEntry(entry.path, () => begin(entry)),
    data(bytes) {
      if (file === undefined) return;
      const { fd, entry } = file;
      counter.bytes(bytes.length);
      forEntry(entry.path, () => writeAll(fd.number, bytes));
    },
    end: () => forEntry(file?.entry.path ?? "", endFile),
    finish() {
      for (const directory of directories.toReversed()) {
        forEntry(directory.path, () => finishDirectory(directory));
      }
      return counter.summary();
    },
    [Symbol.dispose]() {
      if (file !== undefined) trySyscall("unlinkat", file.place.directoryFd, file.temporary, 0);
      file?.fd.close();
      owned.dispose();
    },
  };
}

/** Where an entry of the archive goes, below the target's directory; empty for that itself. */
function placedPath(listed: string, { topName, target: { name } }: TreeWriterOptions): string {
  const path = cleanPath(listed, "the directory that is copied to");
  if (topName === undefined) return path;
  const top = Buffer.from(topName).toString("latin1");
  const rest = topName === CONTENT ? path : path === top ? "" : restBelow(path, top);
  const prefix = name === undefined ? (topName === CONTENT ? "" : top) : Buffer.from(name).toString("latin1");
  return prefix === "" || rest === "" ? `${prefix}${rest}` : `${prefix}/${rest}`;
}

function restBelow(path: string, top: string): string {
  if (path.startsWith(`${top}/`)) return path.slice(top.length + 1);
  throw new InvalidArgumentError(
    "",
    `entry ${quoteName(path)} is not below ${quoteName(top)}, which is copied`,
  );
}

function refuseDirectory({ directoryFd, name, path }: Place): void {
  const status = tryStatAt(directoryFd, name);
  if (typeof status === "number" || !isDirectory(status)) return;
  throw new FailedPreconditionError(
    `${quoteName(path)} is there already, as a directory, and is not replaced by a file; remove it first`,
  );
}

/** Makes something under another name first, so that whoever looks sees the old or the new. */
function replace({ directoryFd, name }: Place, make: (temporary: Uint8Array) => void): void {
  const temporary = temporaryName();
  try {
    make(temporary);
    syscall("renameat", directoryFd, temporary, directoryFd, name);
  } finally {
    // Also after a rename: of two names of the same file it takes none away (rename(2)).
    trySyscall("unlinkat", directoryFd, temporary, 0);
  }
}

/** Owner, mode and times by a handle, which no link that is put in its place meanwhile can lead elsewhere. */
function applyToNew({ directoryFd, name, path }: Place, type: number, entry: TarEntry): void {
  const number = tryOpenWithoutLinks(directoryFd, name, O_PATH | O_NOFOLLOW);
  if (number < 0) throw new SyscallError("openat2", -number);
  using fd = new Fd(number);
  if ((statFd(fd.number).mode & S_IFMT) !== type) {
    throw new FailedPreconditionError(`${quoteName(path)} was replaced by somebody else meanwhile`);
  }
  applyByHandle(fd.number, entry);
}

function isDirectory({ mode }: FileStatus): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

function identityOf({ dev, ino }: FileStatus): string {
  return `${dev}:${ino}`;
}

/** Nobody else has the name, nor guesses it. */
function temporaryName(): Uint8Array {
  return cBytes(`.podrt-cp-${randomBytes(8).toString("hex")}`);
}

function unknownOwner({ path, uid, gid }: TarEntry): InvalidArgumentError {
  return new InvalidArgumentError(
    "",
    `entry ${quoteName(path)} belongs to user ${uid} and group ${gid}, which the container's user namespace does not have; change its owner first`,
  );
}
