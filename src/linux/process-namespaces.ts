// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from "node:fs";
import type { NamespaceKind } from "./namespace.ts";
import { isAlive, type ProcessIdentity } from "./process.ts";

/** In the order in which the picture of a pod is told: what a pause is for comes first. */
export const NAMESPACE_KINDS = [
  "net",
  "ipc",
  "uts",
  "pid",
  "mnt",
  "cgroup",
  "user",
  "time",
] as const satisfies readonly NamespaceKind[];

/** Which namespace of each kind a process is in, by inode number; without the kinds that the kernel does not have. */
export type ProcessNamespaces = ReadonlyMap<NamespaceKind, number>;

/** The namespaces of this very process; undefined when it has ended, even if another has its number by now. */
export function namespacesOf(process: ProcessIdentity): ProcessNamespaces | undefined {
  const namespaces = new Map<NamespaceKind, number>();
  for (const kind of NAMESPACE_KINDS) {
    const inode = namespaceInode(`/proc/${process.pid}/ns/${kind}`);
    if (inode !== undefined) namespaces.set(kind, inode);
  }
  // Looked at afterwards: what was alive then has been itself all the while.
  return isAlive(process) ? namespaces : undefined;
}

/** The target of such a link is no path but `net:[4026531840]`, as namespaces(7) has it. */
function namespaceInode(link: string): number | undefined {
  try {
    const [, inode] = /\[(\d+)\]$/.exec(readlinkSync(link)) ?? [];
    return inode === undefined ? undefined : Number(inode);
  } catch {
    return undefined;
  }
}
