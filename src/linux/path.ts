// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "./abi/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  openHow,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "./abi/fcntl.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, STATX_BASIC_STATS, STATX_BYTES } from "./abi/stat.ts";
import { Fd } from "./fd.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

/** A path: text, or NUL-terminated bytes for names that are no UTF-8. */
export type PathLike = string | Uint8Array;

const OPEN_HOW_BYTES = 24;
const MAX_SYMLINKS = 40;
const MAX_RACE_RETRIES = 64;
const PATH_MAX = 4096;
const SLASH = 0x2f;

/**
 * openat2(2) with the directory `rootFd` as the root of everything: absolute paths, absolute symbolic
 * links and `..` stay inside it. /proc's magic links are refused. `mode` counts where `flags` create.
 */
export function openInRoot(rootFd: number, path: PathLike, flags: number, mode = 0): Fd {
  return new Fd(resolve(rootFd, path, flags, mode, RESOLVE_IN_ROOT));
}

/** As `openInRoot`, but a path that would leave `rootFd` fails with EXDEV instead of being held inside. */
export function openBeneath(rootFd: number, path: PathLike, flags: number, mode = 0): Fd {
  return new Fd(resolve(rootFd, path, flags, mode, RESOLVE_BENEATH));
}

/**
 * As `openBeneath`, but no symbolic link is followed anywhere; with O_PATH and O_NOFOLLOW a link as the
 * last component is opened itself. The kernel's answer: a descriptor the caller closes, or -errno.
 */
export function tryOpenWithoutLinks(rootFd: number, path: PathLike, flags: number): number {
  const scope = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  return trySyscall("openat2", rootFd, path, openHow(flags | O_CLOEXEC, 0, scope), OPEN_HOW_BYTES);
}

function resolve(rootFd: number, path: PathLike, flags: number, mode: number, scope: number): number {
  const how = openHow(flags | O_CLOEXEC, mode, scope | RESOLVE_NO_MAGICLINKS);
  for (let attempt = 0; ; attempt++) {
    const result = trySyscall("openat2", rootFd, path, how, OPEN_HOW_BYTES);
    if (result >= 0) return result;
    // EAGAIN: something was renamed or mounted meanwhile, so that `..` could not be proven to stay inside.
    if (result === -ERRNO.EAGAIN && attempt < MAX_RACE_RETRIES) continue;
    throw new SyscallError("openat2", -result, displayPath(path));
  }
}

/** What a caller of `mkdirAllInRoot` may want to hear of; paths are relative to the root, without links. */
export interface MkdirHooks {
  /** A directory was made; `fd` is an O_PATH descriptor on it. */
  readonly made?: (fd: number, path: Uint8Array) => void;
  /** Something that is neither directory nor link is in the way; true when it was removed, so try again. */
  readonly obstacle?: (directoryFd: number, name: Uint8Array, status: FileStatus) => boolean;
}

/**
 * Makes the directory `path` and what is missing above it below `rootFd`, and opens it (O_PATH).
 *
 * It walks component by component on descriptors it holds, so nothing outside is ever touched: symbolic
 * links, also dangling ones, are followed as seen from inside the root. New directories get exactly
 * `mode`, whatever the umask; existing ones are left as they are. ENOTDIR where a file is in the way.
 */
export function mkdirAllInRoot(rootFd: number, path: PathLike, mode: number, hooks: MkdirHooks = {}): Fd {
  const pending = components(toBinary(path));
  const held: { readonly fd: Fd; readonly name: string }[] = [];
  const releaseAll = () => {
    for (const { fd } of held.splice(0)) fd.close();
  };
  let symlinks = 0;
  let obstacles = 0;
  try {
    for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
      if (name === "..") {
        held.pop()?.fd.close();
        continue;
      }
      const parent = held.at(-1)?.fd.number ?? rootFd;
      const { fd: entry, made } = openOrMakeDirectory(parent, name, mode);
      const status = statFd(entry.number);
      const type = status.mode & S_IFMT;
      if (type === S_IFDIR) {
        held.push({ fd: entry, name });
        if (made) hooks.made?.(entry.number, toBytes(held.map((directory) => directory.name).join("/")));
        continue;
      }
      using _ = entry;
      if (type === S_IFLNK) {
        if (++symlinks > MAX_SYMLINKS) throw new SyscallError("mkdirat", ERRNO.ELOOP, displayPath(path));
        const target = readLink(entry.number);
        if (target[0] === SLASH) releaseAll();
        pending.unshift(...components(toBinary(target)));
      } else if (obstacles++ < MAX_RACE_RETRIES && hooks.obstacle?.(parent, toCString(name), status)) {
        pending.unshift(name);
      } else {
        throw new SyscallError("mkdirat", ERRNO.ENOTDIR, displayPath(path));
      }
    }
    return held.pop()?.fd ?? openInRoot(rootFd, ".", O_PATH | O_DIRECTORY);
  } finally {
    releaseAll();
  }
}

/** A handle on `name` in `directoryFd`, without following it; a directory is made where nothing is. */
function openOrMakeDirectory(directoryFd: number, name: string, mode: number): { fd: Fd; made: boolean } {
  const path = toCString(name);
  for (let attempt = 0; ; attempt++) {
    const found = trySyscall("openat", directoryFd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (found >= 0) return { fd: new Fd(found), made: false };
    if (found !== -ERRNO.ENOENT || attempt === MAX_RACE_RETRIES) {
      throw new SyscallError("openat", -found, displayPath(path));
    }
    const made = trySyscall("mkdirat", directoryFd, path, mode);
    if (made === -ERRNO.EEXIST) continue;
    if (made < 0) throw new SyscallError("mkdirat", -made, displayPath(path));
    using readable = openBeneath(directoryFd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    syscall("fchmod", readable.number, mode);
    return { fd: openBeneath(readable.number, ".", O_PATH | O_DIRECTORY), made: true };
  }
}

/** The target of the symbolic link that an O_PATH descriptor is open on, without a NUL. */
export function readLink(fd: number): Uint8Array {
  const buffer = new Uint8Array(PATH_MAX);
  return buffer.subarray(0, syscall("readlinkat", fd, "", buffer, buffer.length));
}

/** What statx(2) tells of a file; `dev` and `rdev` are `major:minor` as the kernel writes them. */
export interface FileStatus {
  /** Type and permission bits, as st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly dev: string;
  readonly ino: bigint;
  readonly rdev: string;
  readonly nlink: number;
  /** Bytes on disk. */
  readonly allocatedBytes: number;
  readonly mtimeSeconds: bigint;
  readonly mtimeNanoseconds: number;
}

/** The status of an open file; an O_PATH descriptor will do. */
export function statFd(fd: number): FileStatus {
  return statAt(fd, "");
}

/** The status of `path` below `directoryFd`; the last component is not followed. */
export function statAt(directoryFd: number, path: PathLike): FileStatus {
  const status = tryStatAt(directoryFd, path);
  if (typeof status === "number") throw new SyscallError("statx", -status, displayPath(path));
  return status;
}

/** As `statAt`; -errno where the kernel refuses. */
export function tryStatAt(directoryFd: number, path: PathLike): FileStatus | number {
  const bytes = new Uint8Array(STATX_BYTES);
  const flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  const result = trySyscall("statx", directoryFd, path, flags, STATX_BASIC_STATS, bytes);
  return result < 0 ? result : decodeStatx(bytes);
}

// struct statx, include/uapi/linux/stat.h.
function decodeStatx(bytes: Uint8Array): FileStatus {
  const view = new DataView(bytes.buffer);
  return {
    nlink: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mode: view.getUint16(28, true),
    ino: view.getBigUint64(32, true),
    size: Number(view.getBigUint64(40, true)),
    allocatedBytes: Number(view.getBigUint64(48, true)) * 512,
    mtimeSeconds: view.getBigInt64(112, true),
    mtimeNanoseconds: view.getUint32(120, true),
    rdev: `${view.getUint32(128, true)}:${view.getUint32(132, true)}`,
    dev: `${view.getUint32(136, true)}:${view.getUint32(140, true)}`,
  };
}

// Paths are taken apart as strings of one character per byte, so that any name survives.

function components(binary: string): string[] {
  return binary.split("/").filter((part) => part !== "" && part !== ".");
}

function toBinary(path: PathLike): string {
  if (typeof path === "string") return Buffer.from(path, "utf8").toString("latin1");
  const end = path.indexOf(0);
  return Buffer.from(end < 0 ? path : path.subarray(0, end)).toString("latin1");
}

function toBytes(binary: string): Uint8Array {
  return Buffer.from(binary, "latin1");
}

function toCString(binary: string): Uint8Array {
  return Buffer.from(`${binary}\0`, "latin1");
}

function displayPath(path: PathLike): string {
  return typeof path === "string" ? path : Buffer.from(toBinary(path), "latin1").toString("utf8");
}
