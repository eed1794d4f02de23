// SPDX-License-Identifier: Apache-2.0
import type { ImageRecord } from "../image/images.ts";
import { mountReadOnlyOverlay } from "../launch/rootfs.ts";
import type { Runtime } from "./runtime.ts";
import { readUserDatabase, type UserDatabase } from "./user.ts";

/** What is kept, at most: of the images that were asked for last, unless they know very many users. */
const MOST_KEPT = 16;
const MOST_ENTRIES_KEPT = 256;

/** By the chain id of the top layer, which stands for all of an image's files. */
const kept = new Map<string, UserDatabase>();

/** The users and groups that an image knows. NotFoundError where a layer of it is not unpacked. */
export function imageUsers(
  { snapshotter, paths }: Pick<Runtime, "snapshotter" | "paths">,
  { layers }: ImageRecord,
): UserDatabase {
  const top = layers.at(-1)?.chainId;
  if (top === undefined) return { users: [], groups: [] };
  const found = kept.get(top);
  kept.delete(top);
  const database = found ?? read();
  if (database.users.length + database.groups.length <= MOST_ENTRIES_KEPT) kept.set(top, database);
  const [oldest] = kept.keys();
  if (kept.size > MOST_KEPT && oldest !== undefined) kept.delete(oldest);
  return database;

  function read(): UserDatabase {
    const directories = snapshotter.layerDirs(layers.map(({ chainId }) => chainId)).toReversed();
    using root = mountReadOnlyOverlay(directories, paths.rootMountPoint);
    return readUserDatabase(root);
  }
}
