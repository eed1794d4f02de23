// SPDX-License-Identifier: Apache-2.0
import { basename, dirname } from "node:path";
import { AT_FDCWD } from "../linux/abi/fcntl.ts";
import { OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from "../linux/abi/mount.ts";
import { Fd } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import { mapMount } from "./rootfs.ts";
import { newUserNamespace } from "./user-namespace.ts";

/**
 * Runs `work` with paths at which `directories` show their ids as `mappings` has them: for an overlay to
 * stand on, since an overlay cannot be idmapped itself. Directories that lie side by side share one mount,
 * which is detached: nothing of it is in the host's tree, and the paths lead nowhere afterwards. Without
 * mappings they are the directories' own.
 */
export function withMappedIds<T>(
  directories: readonly string[],
  mappings: IdMappings | undefined,
  work: (paths: readonly string[]) => T,
): T {
  if (mappings === undefined) return work(directories);
  using namespace = newUserNamespace(mappings);
  const trees = new Map<string, Fd>();
  try {
    for (const parent of new Set(directories.map((directory) => dirname(directory)))) {
      const tree = new Fd(syscall("open_tree", AT_FDCWD, parent, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      trees.set(parent, tree);
      mapMount(tree, namespace);
    }
    return work(
      directories.map(
        (directory) => `/proc/self/fd/${trees.get(dirname(directory))?.number}/${basename(directory)}`,
      ),
    );
  } finally {
    for (const tree of trees.values()) tree.close();
  }
}
