// SPDX-License-Identifier: Apache-2.0
import { basename, dirname } from "node:path";
import { AT_FDCWD } from "../linux/abi/fcntl.ts";
import {
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../linux/abi/mount.ts";
import { Fd } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import { mapMount } from "./rootfs.ts";
import { newUserNamespace } from "./user-namespace.ts";

/** How ids are to be shown: as which mappings have them, and what the kernel needs for that. */
export interface ShownIds {
  readonly mappings: IdMappings;
  /**
   * Before Linux 6.15 an overlay takes no layer from a detached mount: an empty directory of the host's, on which
   * it is attached for as long as the overlay is being made.
   */
  readonly attachAt: string | undefined;
}

/**
 * Runs `work`, which must be synchronous, with paths at which `directories` show the ids that `ids` asks
 * for: for an overlay to stand on, since an overlay cannot be idmapped itself. Directories that lie side by
 * side share one mount. The paths lead nowhere afterwards. Without `ids` they are the directories' own.
 */
export function withShownIds<T>(
  directories: readonly string[],
  ids: ShownIds | undefined,
  work: (paths: readonly string[]) => T,
): T {
  if (ids === undefined) return work(directories);
  using trees = new DisposableStack();
  using namespace = newUserNamespace(ids.mappings);
  const paths = new Map<string, string>();
  for (const parent of new Set(directories.map((directory) => dirname(directory)))) {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    const tree = trees.use(new Fd(syscall("open_tree", AT_FDCWD, parent, flags)));
    mapMount(tree, namespace);
    if (ids.attachAt !== undefined) trees.defer(attach(tree, ids.attachAt));
    paths.set(parent, `/proc/self/fd/${tree.number}`);
  }
  return work(directories.map((directory) => `${paths.get(dirname(directory))}/${basename(directory)}`));
}

/** The undo of the attachment; the mount point is covered meanwhile, but the tree is reached by descriptor. */
function attach(tree: Fd, at: string): () => void {
  syscall("move_mount", tree.number, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH);
  return () => {
    syscall("umount2", at, MNT_DETACH);
  };
}
