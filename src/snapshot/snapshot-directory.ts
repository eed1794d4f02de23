// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as v from "valibot";

/** What is kept beside a snapshot's `upper` and `work`, in the file `snapshot.json`. */
const snapshotSchema = v.strictObject({
  /** Chain ids, bottom first. */
  layers: v.array(v.string()),
  /**
   * Names of the layers' directories when it was made, bottom first, and that of its common layer; absent from those
   * of an earlier podrt.
   */
  directories: v.optional(v.array(v.string())),
});

export type StoredSnapshot = Readonly<v.InferOutput<typeof snapshotSchema>>;

/** Under this name a directory is being made; it is deleted at the next start. */
export const UNFINISHED_PREFIX = ".new-";
const FILE_NAME = "snapshot.json";
const PERMISSION_BITS = 0o7777;

/** Makes the upper directory of an overlay, whose root will look as that of its top layer does. */
export function makeUpperDirectory(path: string, topLayerDir: string): void {
  const { mode, uid, gid } = statSync(topLayerDir);
  mkdirSync(path);
  chownSync(path, uid, gid);
  chmodSync(path, mode & PERMISSION_BITS);
}

export function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Makes the directory of a snapshot. */
export function writeSnapshot(directory: string, snapshot: StoredSnapshot, topLayerDir: string): void {
  mkdirSync(directory, { mode: 0o700 });
  mkdirSync(join(directory, "work"), { mode: 0o700 });
  makeUpperDirectory(join(directory, "upper"), topLayerDir);
  writeFileSync(join(directory, FILE_NAME), JSON.stringify(snapshot), { mode: 0o600 });
}

/** The snapshots below `containersDir`; one whose file a power loss left empty stands on no layers. */
export function readSnapshots(containersDir: string): Map<string, StoredSnapshot> {
  const snapshots = new Map<string, StoredSnapshot>();
  for (const name of readdirSync(containersDir)) {
    if (!name.startsWith(".")) snapshots.set(name, readStored(join(containersDir, name, FILE_NAME)));
  }
  return snapshots;
}

function readStored(file: string): StoredSnapshot {
  try {
    return v.parse(snapshotSchema, JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return { layers: [] };
  }
}
