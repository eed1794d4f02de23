// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { FailedPreconditionError, ResourceExhaustedError } from "../errors.ts";
import { cleanPath, parentPath } from "./apply-place.ts";
import { type Compression, detectFileCompression, readDecompressed } from "./decompress.ts";
import { createSource, type Extent, type ImageSource } from "./import-source.ts";
import { TAR_LIMITS } from "./tar-entry.ts";
import { createTarReader } from "./tar-reader.ts";
import { limitFor } from "./unpack-layer.ts";

/** A member of the archive: a file's place in it, or the name that a link stands for. */
type Member =
  | { readonly kind: "file"; readonly offset: number; readonly sizeBytes: number }
  | { readonly kind: "link"; readonly target: string };

const READ_BYTES = 64 * 1024;
/** An image's archive has a handful of members for each of its layers. */
const LIMITS = { ...TAR_LIMITS, maxEntries: 50_000 };
const MAX_LINKS = 8;

/**
 * A tar archive, plain or compressed with gzip or zstd, read without unpacking it: its members are found
 * by their headers. A compressed one is first inflated to an unnamed file in `temporaryDir`; `onInflated` hears to how
 * many bytes so far.
 */
export async function openArchiveSource(
  path: string,
  temporaryDir: string,
  onInflated: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<ImageSource> {
  const compression = detectFileCompression(path);
  const handle =
    compression === "none"
      ? await open(path, "r")
      : await inflate(path, compression, temporaryDir, onInflated, signal);
  try {
    const members = await listMembers(handle, signal);
    return createSource({
      find: async (name) => find(handle, members, toBinary(name)),
      release: async () => {},
      close: () => handle.close(),
    });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function inflate(
  path: string,
  compression: Compression,
  temporaryDir: string,
  onInflated: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<FileHandle> {
  const limitBytes = limitFor((await stat(path)).size);
  const temporary = join(temporaryDir, `import-${randomBytes(8).toString("hex")}`);
  const handle = await open(temporary, "wx+", 0o600);
  try {
    await unlink(temporary);
    let bytes = 0;
    for await (const chunk of readDecompressed(path, compression)) {
      signal?.throwIfAborted();
      if (bytes + chunk.length > limitBytes) {
        throw new ResourceExhaustedError(
          `it inflates to more than ${limitBytes} bytes, which only a decompression bomb does`,
        );
      }
      await writeAt(handle, chunk, bytes);
      bytes += chunk.length;
      onInflated(bytes);
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Reads the headers and seeks over what lies between them. */
async function listMembers(
  handle: FileHandle,
  signal: AbortSignal | undefined,
): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const reader = createTarReader(
    {
      entry({ path, type, linkPath, sizeBytes }, offset) {
        const name = cleanPath(path);
        if (type === "file") members.set(name, { kind: "file", offset, sizeBytes });
        else if (type === "hardlink") members.set(name, { kind: "link", target: cleanPath(linkPath) });
        else if (type === "symlink")
          members.set(name, { kind: "link", target: symlinkTarget(name, linkPath) });
      },
      data() {},
      end() {},
    },
    LIMITS,
  );
  const size = (await handle.stat()).size;
  let position = 0;
  while (position < size) {
    signal?.throwIfAborted();
    const buffer = new Uint8Array(READ_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) break;
    reader.push(buffer.subarray(0, bytesRead));
    position += bytesRead + reader.skipContent();
  }
  if (position > size) throw new FailedPreconditionError("it is truncated: its last member is not whole");
  reader.finish();
  return members;
}

/** `docker save` links a layer that several images share: `../ID/layer.tar`. */
function symlinkTarget(name: string, linkPath: string): string {
  return cleanPath(linkPath.startsWith("/") ? linkPath : `${parentPath(name)}/${linkPath}`);
}

function find(handle: FileHandle, members: ReadonlyMap<string, Member>, path: string): Extent | undefined {
  let member = members.get(cleanPath(path));
  for (let links = 0; member?.kind === "link"; links++) {
    if (links === MAX_LINKS) throw new FailedPreconditionError(`a link in it leads to no file`);
    member = members.get(member.target);
  }
  return member && { handle, offset: member.offset, sizeBytes: member.sizeBytes };
}

function toBinary(name: string): string {
  return Buffer.from(name, "utf8").toString("latin1");
}
