// SPDX-License-Identifier: Apache-2.0
import { closeSync, mkdirSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { InvalidArgumentError, ResourceExhaustedError } from "../errors.ts";
import { quoteName, TAR_LIMITS, type TarEntry } from "../image/tar-entry.ts";
import { createTarReader, type TarSink } from "../image/tar-reader.ts";
import { hearAbort } from "../lib/worker-pool.ts";
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } from "../linux/abi/fcntl.ts";
import { type Fd, open, writeAll } from "../linux/fd.ts";

/** What an archive says about its container; the rest of it is in files. */
export interface ArchiveContent {
  /** The bytes of `config.dump`. */
  readonly config: Uint8Array;
}

const CHUNK_BYTES = 1 << 20;
const CONFIG_LIMIT_BYTES = 4 << 20;
const TOTAL_LIMIT_BYTES = 256 * 2 ** 30;
const LIMITS = { ...TAR_LIMITS, maxEntries: 100_000 };
const IMAGE = /^checkpoint\/[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$/;
const LAYER = "rootfs-diff.tar";
const CONFIG = "config.dump";
/** For people and other tools. */
const PASSED_OVER = ["spec.dump", "dump.log", "stats-dump"];

/**
 * Takes a container's checkpoint apart: criu's images into `checkpoint` below `directory`, the layer beside
 * it. An archive is anybody's bytes: only the regular files of capture.ts may be in it, each once. What is
 * in the layer is for `unpackLayer` to confine.
 */
export async function readArchive(
  archive: string,
  directory: string,
  signal?: AbortSignal,
): Promise<ArchiveContent> {
  mkdirSync(join(directory, "checkpoint"), { mode: 0o700 });
  const parts: Uint8Array[] = [];
  const seen = new Set<string>();
  let output: Fd | undefined;
  let isConfig = false;
  let total = 0;
  const sink: TarSink = {
    entry(entry) {
      if (entry.type === "directory" && entry.path === "checkpoint/") return;
      checkEntry(entry, seen);
      isConfig = entry.path === CONFIG;
      total += entry.sizeBytes;
      if (total > TOTAL_LIMIT_BYTES || (isConfig && entry.sizeBytes > CONFIG_LIMIT_BYTES)) {
        throw new ResourceExhaustedError(`${archive}: ${quoteName(entry.path)} is too large`);
      }
      if (entry.path !== LAYER && !IMAGE.test(entry.path)) return;
      output = open(join(directory, entry.path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    },
    data(bytes) {
      if (output !== undefined) writeAll(output.number, bytes);
      else if (isConfig) parts.push(bytes.slice());
    },
    end() {
      output?.close();
      output = undefined;
      isConfig = false;
    },
  };
  const reader = createTarReader(sink, LIMITS);
  const file = openSync(archive, "r");
  try {
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (let count = readSync(file, buffer); count > 0; count = readSync(file, buffer)) {
      signal?.throwIfAborted();
      reader.push(buffer.subarray(0, count));
      await hearAbort();
    }
    reader.finish();
  } finally {
    closeSync(file);
    output?.close();
  }
  for (const name of [CONFIG, LAYER]) {
    if (!seen.has(name)) throw new InvalidArgumentError("", `${archive} is no checkpoint: it has no ${name}`);
  }
  return { config: new Uint8Array(Buffer.concat(parts)) };
}

function checkEntry({ path, type }: TarEntry, seen: Set<string>): void {
  const isKnown = path === LAYER || path === CONFIG || PASSED_OVER.includes(path) || IMAGE.test(path);
  if (!isKnown || type !== "file" || seen.has(path)) {
    throw new InvalidArgumentError("", `${quoteName(path)} (${type}) has no place in a checkpoint`);
  }
  seen.add(path);
}
