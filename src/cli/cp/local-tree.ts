// SPDX-License-Identifier: Apache-2.0
import type { CopySummary } from "../../copy/copy-bounds.ts";
import { readTree } from "../../copy/read-tree.ts";
import { openTarget } from "../../copy/tree-place.ts";
import { createTreeWriter } from "../../copy/write-tree.ts";
import type { TarEntry } from "../../image/tar-entry.ts";
import { createTarReader } from "../../image/tar-reader.ts";
import { O_DIRECTORY, O_PATH } from "../../linux/abi/fcntl.ts";
import { open } from "../../linux/fd.ts";

/** A path of this machine. */
export interface LocalPath {
  readonly path: string;
  /** As the person wrote it. */
  readonly shown: string;
}

/** Gives the archive of a file or directory of this machine to `sink`. */
export async function sendLocal(
  { path, shown }: LocalPath,
  followLink: boolean,
  sink: (bytes: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<CopySummary> {
  using root = open("/", O_PATH | O_DIRECTORY);
  return await readTree({ rootFd: root.number, path, shown, followLink }, sink, signal);
}

/** What became of an archive of a container's. */
export interface Received extends CopySummary {
  /** Files whose setuid and setgid bits, or capabilities, were left out. */
  readonly tamed: number;
}

const SET_IDS = 0o6000;
const CAPABILITY = "security.capability";

/**
 * Makes files of this machine of an archive of a container's. Whoever wrote it may mean harm: what would run with
 * another's rights does not, and devices are left out. Owners are kept where root copies, else all is the caller's.
 */
export async function receiveLocal(
  { path, shown }: LocalPath,
  topName: string,
  archive: AsyncIterable<Uint8Array>,
): Promise<Received> {
  using root = open("/", O_PATH | O_DIRECTORY);
  using target = openTarget(root.number, path, shown);
  let tamed = 0;
  const tame = (entry: TarEntry): TarEntry => {
    const isFile = entry.type === "file";
    if (!isFile || ((entry.mode & SET_IDS) === 0 && !entry.xattrs.has(CAPABILITY))) return entry;
    tamed += 1;
    const xattrs = new Map([...entry.xattrs].filter(([name]) => name !== CAPABILITY));
    return { ...entry, mode: entry.mode & ~SET_IDS, xattrs };
  };
  using writer = createTreeWriter({ target, topName, adapt: (entry) => ownedHere(tame(entry)) });
  const reader = createTarReader(writer);
  for await (const bytes of archive) reader.push(bytes);
  reader.finish();
  return { ...writer.finish(), tamed };
}

function ownedHere(entry: TarEntry): TarEntry {
  const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  return uid === 0 ? entry : { ...entry, uid, gid };
}
