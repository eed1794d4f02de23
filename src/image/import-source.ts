// SPDX-License-Identifier: Apache-2.0
import { type FileHandle, open as openFile } from "node:fs/promises";
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { S_IFMT, S_IFREG } from "../linux/abi/stat.ts";
import { type Fd, open } from "../linux/fd.ts";
import { openBeneath, statFd } from "../linux/path.ts";
import { isErrno } from "../linux/syscall.ts";

/** The files of an image on disk, in a directory or inside an archive. Nothing in them is trusted. */
export interface ImageSource extends AsyncDisposable {
  /** Size of a file, or nothing where there is none of that name. */
  sizeBytes(name: string): Promise<number | undefined>;
  /** A whole small file, or only its beginning of `maxBytes`; NotFoundError. */
  read(name: string, maxBytes: number): Promise<Uint8Array>;
  /** A whole file, in pieces. */
  stream(name: string): AsyncIterable<Uint8Array>;
}

/** Where a file's bytes lie. */
export interface Extent {
  readonly handle: FileHandle;
  readonly offset: number;
  readonly sizeBytes: number;
}

const CHUNK_BYTES = 256 * 1024;

/** A directory that nothing is read from outside of, links included. */
export function openDirectorySource(path: string): ImageSource {
  const root = open(path, O_PATH | O_DIRECTORY);
  return createSource({
    find: (name) => findInDirectory(root, name),
    release: ({ handle }) => handle.close(),
    close: async () => root.close(),
  });
}

/** A source whose files `find` locates; each extent is given back to `release`. */
export function createSource(files: {
  find(name: string): Promise<Extent | undefined>;
  release(extent: Extent): Promise<void>;
  close(): Promise<void>;
}): ImageSource {
  async function withExtent<T>(name: string, work: (extent: Extent) => Promise<T>): Promise<T> {
    const extent = await files.find(name);
    if (extent === undefined) throw new NotFoundError(`${name} is missing in it`);
    try {
      return await work(extent);
    } finally {
      await files.release(extent);
    }
  }
  return {
    async sizeBytes(name) {
      const extent = await files.find(name);
      if (extent !== undefined) await files.release(extent);
      return extent?.sizeBytes;
    },
    read: (name, maxBytes) =>
      withExtent(name, async ({ handle, offset, sizeBytes }) => {
        const parts: Uint8Array[] = [];
        for await (const part of readRange(handle, offset, Math.min(sizeBytes, maxBytes))) parts.push(part);
        return Buffer.concat(parts);
      }),
    async *stream(name) {
      const extent = await files.find(name);
      if (extent === undefined) throw new NotFoundError(`${name} is missing in it`);
      try {
        yield* readRange(extent.handle, extent.offset, extent.sizeBytes);
      } finally {
        await files.release(extent);
      }
    },
    [Symbol.asyncDispose]: () => files.close(),
  };
}

async function findInDirectory(root: Fd, name: string): Promise<Extent | undefined> {
  try {
    // Looked at before it is opened: a fifo would hold up the opening for ever, and a device be used by it.
    using file = openBeneath(root.number, name, O_PATH);
    const { mode, size } = statFd(file.number);
    if ((mode & S_IFMT) !== S_IFREG) throw new FailedPreconditionError(`${name} in it is no file`);
    return { handle: await openFile(`/proc/self/fd/${file.number}`), offset: 0, sizeBytes: size };
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    if (isErrno(error, "EXDEV", "ELOOP")) {
      throw new FailedPreconditionError(`${name} in it is a link that leads elsewhere`, { cause: error });
    }
    throw error;
  }
}

async function* readRange(handle: FileHandle, offset: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < sizeBytes; ) {
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes - done));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset + done);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    done += bytesRead;
  }
}

/** The same pieces; `onBytes` hears how many bytes have passed. */
export async function* counting(
  pieces: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    onBytes(bytes);
    yield piece;
  }
}
