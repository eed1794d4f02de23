// SPDX-License-Identifier: Apache-2.0
import type { ImageRecord } from "../image/images.ts";
import { mountReadOnlyOverlay } from "../launch/rootfs.ts";
import type { Runtime } from "./runtime.ts";
import { readUserDatabase, type UserDatabase } from "./user.ts";

/** What is kept, at most: of the images that were asked for last, unless what they know is much, as JSON. */
const MOST_KEPT = 16;
const MOST_KEPT_CHARACTERS = 32 * 1024;

/** By the directories of the layers: a layer that is damaged and unpacked again has another one. */
const kept = new Map<string, UserDatabase>();

/** The users and groups that an image knows. NotFoundError where a layer of it is not unpacked. */
export function imageUsers(
  { snapshotter, paths }: Pick<Runtime, "snapshotter" | "paths">,
  { layers }: Pick<ImageRecord, "layers">,
): UserDatabase {
  if (layers.length === 0) return { users: [], groups: [] };
  const directories = snapshotter.layerDirs(layers.map(({ chainId }) => chainId)).toReversed();
  const key = directories.join();
  const found = kept.get(key);
  kept.delete(key);
  const database = found ?? read();
  if (found !== undefined || JSON.stringify(database).length <= MOST_KEPT_CHARACTERS) kept.set(key, database);
  const [oldest] = kept.keys();
  if (kept.size > MOST_KEPT && oldest !== undefined) kept.delete(oldest);
  return database;

  function read(): UserDatabase {
    using root = mountReadOnlyOverlay(directories, paths.rootMountPoint);
    return readUserDatabase(root);
  }
}
