// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "./abi/errno.ts";
import { AT_REMOVEDIR, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "./abi/fcntl.ts";
import { S_IFDIR, S_IFMT } from "./abi/stat.ts";
import { Fd } from "./fd.ts";
import { statFd, tryStatAt } from "./path.ts";
import { labelFd, labelPath } from "./selinux.ts";
import { isErrno, SyscallError, syscall, trySyscall } from "./syscall.ts";

/** What a tree takes: bytes on disk and inodes, the top directory's own included. */
export interface TreeUsage {
  readonly usedBytes: number;
  readonly inodes: number;
}

interface TreeVisitor {
  /** A name in an open directory: to be gone into, should it be a directory, or not; or all ends here. */
  visit(directoryFd: number, name: Uint8Array): "enter" | "pass" | "stop";
  /** All below `name` has been visited. */
  leave(directoryFd: number, name: Uint8Array): void;
}

/** A directory being read. Deep ones give their descriptor back and keep only where they were. */
interface Frame {
  fd: Fd;
  readonly name: Uint8Array;
  /** Of one that has given its descriptor back. */
  identity?: string;
  /** Where the next batch of names starts: the d_off of the last name read. */
  position: bigint;
  names: Uint8Array[];
}

const DIRENT_BATCH_BYTES = 32 * 1024;
const MAX_OPEN_DIRECTORIES = 64;
const REMOVE_ATTEMPTS = 3;
const SEEK_SET = 0;
const OPEN_DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/** Up to where a tree is deleted at once. */
export interface RemovalBounds {
  readonly maxInodes: number;
  readonly maxBytes: number;
}

/**
 * Deletes `name` in an open directory with all that is below it, links never followed, to any depth,
 * with a bounded number of descriptors. What is not there is fine. Without `bounds` it takes as long as it takes:
 * call it off the daemon's thread; with them it stops when it meets one, and answers false. EBUSY where something
 * is mounted inside.
 */
export function removeTree(
  directoryFd: number,
  name: string | Uint8Array,
  bounds: RemovalBounds = { maxInodes: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY },
): boolean {
  const budget = { inodes: bounds.maxInodes, bytes: bounds.maxBytes };
  for (let attempt = 1; ; attempt++) {
    const found = tryUnlink(directoryFd, name, budget);
    if (found !== "enter") return found === "pass";
    using directory = new Fd(syscall("openat", directoryFd, name, OPEN_DIRECTORY));
    try {
      let isWhole = true;
      walkTree(directory, {
        visit(fd, child) {
          const answer = tryUnlink(fd, child, budget);
          isWhole &&= answer !== "stop";
          return answer;
        },
        leave: (fd, child) => syscall("unlinkat", fd, child, AT_REMOVEDIR),
      });
      if (isWhole) syscall("unlinkat", directoryFd, name, AT_REMOVEDIR);
      return isWhole;
    } catch (error) {
      // Some file systems leave names out while others are being deleted; a second pass sees them.
      if (attempt === REMOVE_ATTEMPTS || !isErrno(error, "ENOTEMPTY")) throw error;
    }
  }
}

function tryUnlink(
  directoryFd: number,
  name: string | Uint8Array,
  budget: { inodes: number; bytes: number },
): "enter" | "pass" | "stop" {
  if (Number.isFinite(budget.inodes)) {
    const status = tryStatAt(directoryFd, name);
    if (typeof status === "number") {
      if (status === -ERRNO.ENOENT) return "pass";
      throw new SyscallError("statx", -status);
    }
    budget.inodes -= 1;
    budget.bytes -= status.allocatedBytes;
    if (budget.inodes < 0 || budget.bytes < 0) return "stop";
    if ((status.mode & S_IFMT) === S_IFDIR) return "enter";
  }
  const removed = trySyscall("unlinkat", directoryFd, name, 0);
  if (removed === -ERRNO.EISDIR) return "enter";
  if (removed < 0 && removed !== -ERRNO.ENOENT) throw new SyscallError("unlinkat", -removed);
  return "pass";
}

/** How far a measurement goes before it gives up; no bound that is absent. */
export interface MeasureBounds {
  readonly maxInodes?: number;
  readonly timeoutMs?: number;
}

/**
 * Gives `top` and all below it the SELinux context `label`, links themselves and not what they name. Answers the
 * first error of the kernel's as -errno, 0 for none; what is gone by the time it is reached is passed over.
 */
export function relabelTree(top: Fd, label: string): number {
  let failure = labelFd(top.number, label);
  if (failure < 0 || (statFd(top.number).mode & S_IFMT) !== S_IFDIR) return failure;
  walkTree(top, {
    visit(fd, name) {
      const result = labelPath(Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]), label);
      if (result === -ERRNO.ENOENT) return "pass";
      failure = result;
      return result < 0 ? "stop" : "enter";
    },
    leave: () => {},
  });
  return failure;
}

/** Adds up what the tree below an open directory takes; files with several names count once. */
export function measureTree(directory: Fd): TreeUsage {
  return measureTreeWithin(directory, {}) as TreeUsage;
}

/** As `measureTree`, but undefined when a bound was met. */
export function measureTreeWithin(directory: Fd, bounds: MeasureBounds): TreeUsage | undefined {
  const { maxInodes = Number.POSITIVE_INFINITY, timeoutMs = Number.POSITIVE_INFINITY } = bounds;
  const deadline = performance.now() + timeoutMs;
  const top = statFd(directory.number);
  const seen = new Set<bigint>();
  let usedBytes = top.allocatedBytes;
  let inodes = 1;
  let isWhole = true;
  const stop = () => {
    isWhole = false;
    return "stop" as const;
  };
  using reader = new Fd(syscall("openat", directory.number, ".", OPEN_DIRECTORY));
  walkTree(reader, {
    visit(fd, name) {
      if (performance.now() > deadline) return stop();
      const status = tryStatAt(fd, name);
      // It may be gone by now: a container that runs changes its files meanwhile.
      if (typeof status === "number") return "pass";
      const isDirectory = (status.mode & S_IFMT) === S_IFDIR;
      if (!isDirectory && status.nlink > 1) {
        if (seen.has(status.ino)) return "pass";
        seen.add(status.ino);
      }
      usedBytes += status.allocatedBytes;
      inodes += 1;
      if (inodes > maxInodes) return stop();
      return isDirectory ? "enter" : "pass";
    },
    leave: () => {},
  });
  return isWhole ? { usedBytes, inodes } : undefined;
}

/** The names in an open directory (not O_PATH), NUL-terminated, without `.` and `..`. */
export function* listDirectory(directory: Fd): Generator<Uint8Array> {
  for (;;) {
    const { names } = readNames(directory);
    if (names.length === 0) return;
    yield* names;
  }
}

/**
 * Depth first, parents left after their children. Only the deepest directories stay open; the way back
 * up is `..`, taken only when it leads where the walk came from, since a live tree may be rearranged.
 */
export function walkTree(top: Fd, visitor: TreeVisitor): void {
  const stack: Frame[] = [
    frameOf(new Fd(syscall("openat", top.number, ".", OPEN_DIRECTORY)), new Uint8Array()),
  ];
  try {
    for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
      const name = nextName(frame);
      if (name !== undefined) {
        const answer = visitor.visit(frame.fd.number, name);
        if (answer === "stop") return;
        const child = answer === "enter" ? tryOpenDirectory(frame.fd, name) : undefined;
        if (child === undefined) continue;
        stack.push(frameOf(child, name));
        const far = stack.at(-1 - MAX_OPEN_DIRECTORIES);
        if (far !== undefined) park(far);
        continue;
      }
      stack.pop();
      using finished = frame.fd;
      const parent = stack.at(-1);
      if (parent === undefined || (!parent.fd.isOpen && !revive(parent, finished))) return;
      visitor.leave(parent.fd.number, frame.name);
    }
  } finally {
    for (const frame of stack) frame.fd.close();
  }
}

function frameOf(fd: Fd, name: Uint8Array): Frame {
  return { fd, name, position: 0n, names: [] };
}

function identityOf(fd: Fd): string {
  const { dev, ino } = statFd(fd.number);
  return `${dev}:${ino}`;
}

function nextName(frame: Frame): Uint8Array | undefined {
  if (frame.names.length === 0) {
    const { names, position } = readNames(frame.fd);
    frame.names = names.reverse();
    frame.position = position;
  }
  return frame.names.pop();
}

function tryOpenDirectory(directory: Fd, name: Uint8Array): Fd | undefined {
  const fd = trySyscall("openat", directory.number, name, OPEN_DIRECTORY);
  if (fd >= 0) return new Fd(fd);
  if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENOTDIR || fd === -ERRNO.ELOOP) return undefined;
  throw new SyscallError("openat", -fd);
}

function park(frame: Frame): void {
  if (!frame.fd.isOpen) return;
  frame.identity = identityOf(frame.fd);
  frame.fd.close();
}

function revive(frame: Frame, child: Fd): boolean {
  const fd = trySyscall("openat", child.number, "..", OPEN_DIRECTORY);
  if (fd < 0) return false;
  frame.fd = new Fd(fd);
  if (identityOf(frame.fd) !== frame.identity) {
    frame.fd.close();
    return false;
  }
  syscall("lseek", fd, frame.position, SEEK_SET);
  return true;
}

// struct linux_dirent64 of getdents64(2).
const OFF_OFFSET = 8;
const RECLEN_OFFSET = 16;
const NAME_OFFSET = 19;

interface NameBatch {
  readonly names: Uint8Array[];
  readonly position: bigint;
}

/** Read and decoded within one synchronous step, so one is enough. */
let direntBuffer: Uint8Array | undefined;

/** The next names of a directory; none at its end. */
function readNames(directory: Fd): NameBatch {
  direntBuffer ??= new Uint8Array(DIRENT_BATCH_BYTES);
  const buffer = direntBuffer;
  for (;;) {
    const length = syscall("getdents64", directory.number, buffer, buffer.length);
    const batch = decodeNames(buffer, length);
    if (length === 0 || batch.names.length > 0) return batch;
  }
}

function decodeNames(buffer: Uint8Array, length: number): NameBatch {
  const view = new DataView(buffer.buffer);
  const names: Uint8Array[] = [];
  let position = 0n;
  for (let offset = 0; offset < length; offset += view.getUint16(offset + RECLEN_OFFSET, true)) {
    // A hash of up to 63 bits on some file systems: a number would lose its last digits.
    position = view.getBigInt64(offset + OFF_OFFSET, true);
    const start = offset + NAME_OFFSET;
    const name = buffer.slice(start, buffer.indexOf(0, start) + 1);
    const isDots = name[0] === 0x2e && (name.length === 2 || (name.length === 3 && name[1] === 0x2e));
    if (!isDots) names.push(name);
  }
  return { names, position };
}
