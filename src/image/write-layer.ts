// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, ResourceExhaustedError } from "../errors.ts";
import { hearAbort } from "../lib/worker-pool.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { Fd, writeAll } from "../linux/fd.ts";
import { type FileStatus, statFd, tryOpenWithoutLinks } from "../linux/path.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import { cBytes } from "./apply-place.ts";
import { isWhiteout } from "./lower-layers.ts";
import { quoteName, TAR_LIMITS, type TarEntry } from "./tar-entry.ts";
import { memberDetails, memberOf, namesIn, tarTypeOf } from "./tar-file.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar-writer.ts";
import { UNPACK_LIMITS } from "./unpack-layer.ts";
import { isOpaque, readXattrs } from "./xattr.ts";

const CHUNK_BYTES = 1 << 20;
const WHITEOUT_PREFIX = ".wh.";
const OPAQUE_NAME = ".wh..wh..opq";

/** What is still to be written: a path, and the directories it may be in, top first. */
interface Pending {
  readonly path: string;
  readonly tops: readonly Fd[];
}

/**
 * Writes the upper directory of an overlay, the first of `directories`, to `outputFd` as a layer's tar (image-spec
 * layer.md): what the other direction, `unpackLayer`, makes the same directory of again. Of several it writes what
 * they are stacked. Nothing may change in them meanwhile; no link in them is followed. Sockets are left out: they mean
 * nothing without their process. It makes system calls all the time, so it belongs on a thread of its own, which
 * hears of `signal` now and then.
 */
export async function writeLayer(
  directories: readonly string[],
  outputFd: number,
  signal?: AbortSignal,
): Promise<void> {
  using owned = new DisposableStack();
  const all = directories.map((directory) =>
    owned.use(new Fd(syscall("openat", -1, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))),
  );
  const output = layerOutput(outputFd, signal);
  const links = new Map<string, string>();
  const pending = namesInAll(all, "");
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path, tops } = next;
    const { top, fd: file } = openFirst(tops, path);
    using _ = file;
    const status = statFd(file.number);
    const type = tarTypeOf(status);
    if (type === undefined) continue;
    if (isWhiteout(status)) {
      output.member({ ...memberOf(status, whiteoutOf(path)), type: "file", mode: 0 });
      continue;
    }
    checkName(path);
    const identity = `${status.dev} ${status.ino}`;
    const first = type === "directory" || status.nlink < 2 ? undefined : links.get(identity);
    if (first !== undefined) {
      output.member({ ...memberOf(status, path), type: "hardlink", linkPath: first });
      continue;
    }
    if (type !== "directory" && status.nlink > 1) links.set(identity, path);
    if (type === "file") await writeFile(top, path, status, output);
    else if (type === "directory") {
      writeDirectory(top, path, status, output);
      pending.push(...namesInAll(partsOf(tops.slice(tops.indexOf(top)), path), path));
    } else output.member({ ...memberOf(status, path), type, ...memberDetails(type, status, file) });
  }
  output.bytes(TAR_END);
}

interface LayerOutput {
  member(entry: TarEntry): void;
  bytes(bytes: Uint8Array): void;
}

function layerOutput(fd: number, signal: AbortSignal | undefined): LayerOutput {
  let entries = 0;
  let written = 0;
  const bytes = (chunk: Uint8Array) => {
    signal?.throwIfAborted();
    written += chunk.length;
    if (written > UNPACK_LIMITS.uncompressedBytes) {
      throw new ResourceExhaustedError(
        `the container has written more than the ${UNPACK_LIMITS.uncompressedBytes} bytes that a layer may have`,
      );
    }
    writeAll(fd, chunk);
  };
  return {
    bytes,
    member(entry) {
      if (++entries > TAR_LIMITS.maxEntries) {
        throw new ResourceExhaustedError(
          `the container has written more than the ${TAR_LIMITS.maxEntries} files that a layer may have`,
        );
      }
      bytes(tarHeader(entry));
    },
  };
}

async function writeFile(top: Fd, path: string, status: FileStatus, output: LayerOutput): Promise<void> {
  using file = openEntry(top, path, O_RDONLY | O_NONBLOCK);
  output.member({
    ...memberOf(status, path),
    type: "file",
    sizeBytes: status.size,
    xattrs: readXattrs(file.number),
  });
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let left = status.size; left > 0; ) {
    const count = syscall("read", file.number, buffer, Math.min(left, buffer.length));
    if (count === 0) throw new FailedPreconditionError(`${quoteName(path)} became shorter while it was read`);
    output.bytes(buffer.subarray(0, count));
    left -= count;
    await hearAbort();
  }
  output.bytes(new Uint8Array(tarPadding(status.size)));
}

function writeDirectory(top: Fd, path: string, status: FileStatus, output: LayerOutput): void {
  using directory = openEntry(top, path, O_RDONLY | O_DIRECTORY);
  const xattrs = readXattrs(directory.number);
  output.member({ ...memberOf(status, `${path}/`), type: "directory", xattrs });
  if (isOpaque(directory.number))
    output.member({ ...memberOf(status, `${path}/${OPAQUE_NAME}`), type: "file", mode: 0 });
}

/** What is in the directory `path`, "" for the top, of any of `tops`. */
function namesInAll(tops: readonly Fd[], path: string): Pending[] {
  const paths = tops.flatMap((top) => {
    using directory = openEntry(top, path === "" ? "." : path, O_RDONLY | O_DIRECTORY);
    return [...namesIn(directory, path === "" ? "" : `${path}/`)];
  });
  return [...new Set(paths)].map((name) => ({ path: name, tops }));
}

/** Of `tops`, in the first of which `path` is a directory, those whose directories are seen there together. */
function partsOf(tops: readonly Fd[], path: string): Fd[] {
  const parts: Fd[] = [];
  for (const top of tops) {
    const fd = tryOpenWithoutLinks(top.number, cBytes(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd === -ERRNO.ENOENT) continue;
    if (fd === -ERRNO.ENOTDIR || fd === -ERRNO.ELOOP) break;
    if (fd < 0) throw refusal(fd, path);
    using directory = new Fd(fd);
    parts.push(top);
    if (isOpaque(directory.number)) break;
  }
  return parts;
}

function openFirst(tops: readonly Fd[], path: string): { readonly top: Fd; readonly fd: Fd } {
  for (const top of tops.slice(0, -1)) {
    const fd = tryOpenWithoutLinks(top.number, cBytes(path), O_PATH | O_NOFOLLOW);
    if (fd >= 0) return { top, fd: new Fd(fd) };
    if (fd !== -ERRNO.ENOENT) throw refusal(fd, path);
  }
  const top = tops.at(-1) as Fd;
  return { top, fd: openEntry(top, path, O_PATH) };
}

/** Each path is opened from the top anew: a tree may be deeper than a process may have files open. */
function openEntry(top: Fd, path: string, flags: number): Fd {
  const fd = tryOpenWithoutLinks(top.number, cBytes(path), flags | O_NOFOLLOW);
  if (fd >= 0) return new Fd(fd);
  throw refusal(fd, path);
}

function refusal(result: number, path: string): Error {
  return result === -ERRNO.ENAMETOOLONG
    ? new ResourceExhaustedError(`the path ${quoteName(path)} is longer than a layer's may be`)
    : new SyscallError("openat2", -result, quoteName(path));
}

function whiteoutOf(path: string): string {
  const at = path.lastIndexOf("/") + 1;
  return `${path.slice(0, at)}${WHITEOUT_PREFIX}${path.slice(at)}`;
}

function checkName(path: string): void {
  if (!path.slice(path.lastIndexOf("/") + 1).startsWith(WHITEOUT_PREFIX)) return;
  throw new FailedPreconditionError(
    `the container has a file named ${quoteName(path)}, which in a layer means a deletion: rename it`,
  );
}
