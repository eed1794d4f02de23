// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InvalidArgumentError } from "../errors.ts";
import { CONTAINERS_DIRECTORY, POD_FILE, SHM_FILE } from "./pod-layout.ts";

/** In a working directory: which output directory a daemon that died was filling. */
const NOTE = "filling";

/** Checks that the directory is there and empty, and notes in `workDir` that it is being filled. */
export function claimOutputDirectory(path: string, workDir: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status?.isDirectory() !== true) {
    throw new InvalidArgumentError("output_path", `${path} is no directory: make an empty one first`);
  }
  if (readdirSync(path).length > 0) {
    throw new InvalidArgumentError("output_path", `${path} is not empty: name an empty directory`);
  }
  writeFileSync(join(workDir, NOTE), JSON.stringify({ path, inode: `${status.dev}:${status.ino}` }));
  mkdirSync(join(path, CONTAINERS_DIRECTORY), { mode: 0o700 });
}

/** Deletes what is in the directory of a checkpoint that was not completed; the directory itself stays. */
export function emptyOutputDirectory(path: string): void {
  for (const name of [POD_FILE, SHM_FILE, CONTAINERS_DIRECTORY]) {
    rmSync(join(path, name), { recursive: true, force: true });
  }
}

/** The same for the one that is noted in the working directory of a daemon that died, if any. */
export function recoverOutputDirectory(workDir: string): void {
  const note = join(workDir, NOTE);
  if (!existsSync(note)) return;
  const { path, inode } = JSON.parse(readFileSync(note, "utf8")) as { path: string; inode: string };
  const status = lstatSync(path, { throwIfNoEntry: false });
  // Another directory has the name by now, or the checkpoint is complete.
  if (status === undefined || `${status.dev}:${status.ino}` !== inode || existsSync(join(path, POD_FILE)))
    return;
  emptyOutputDirectory(path);
}
