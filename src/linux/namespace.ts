// SPDX-License-Identifier: Apache-2.0
import { fstatSync, statSync } from "node:fs";
import { ERRNO } from "./abi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDONLY } from "./abi/fcntl.ts";
import { MNT_DETACH, MS_BIND } from "./abi/mount.ts";
import { CLONE_NEWNET } from "./abi/sched.ts";
import { type Fd, open } from "./fd.ts";
import { setns } from "./libc.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

const UMOUNT_NOFOLLOW = 0x8;

/** The names below /proc/PID/ns; see namespaces(7). */
export type NamespaceKind = "cgroup" | "ipc" | "mnt" | "net" | "pid" | "time" | "user" | "uts";

/** Opens a namespace of a process; ENOENT or ESRCH when the process is gone. */
export function openNamespace(pid: number, kind: NamespaceKind): Fd {
  return open(`/proc/${pid}/ns/${kind}`, O_RDONLY);
}

let home: Fd | undefined;

/**
 * Runs `work` with the JavaScript thread in the network namespace of `netnsFd`, and comes back. Only
 * synchronous work: during an await other work would run in the wrong namespace, so a promise is
 * refused (what it did before its first await is done). A netlink socket opened in here stays in that
 * namespace, so opening one is usually all there is to do.
 *
 * A thread that cannot come back would go on in a pod's network; the process dies instead.
 */
export function withNetworkNamespace<T>(netnsFd: number, work: () => T): T {
  home ??= open("/proc/thread-self/ns/net", O_RDONLY);
  const entered = setns(netnsFd, CLONE_NEWNET);
  if (entered < 0) throw new SyscallError("setns", -entered, `network namespace of descriptor ${netnsFd}`);
  let result: T;
  try {
    result = work();
  } finally {
    if (setns(home.number, CLONE_NEWNET) < 0) process.abort();
  }
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new Error("work in a network namespace must be synchronous, this returned a promise");
  }
  return result;
}

/** The same in the network namespace whose pin is at `path`; undefined for the host's. */
export function withNetworkNamespaceAt<T>(path: string | undefined, work: () => T): T {
  if (path === undefined) return work();
  using netns = open(path, O_RDONLY);
  return withNetworkNamespace(netns.number, work);
}

/**
 * Keeps a namespace alive by a bind mount of it on `path`, an empty file made for that. Repeating it is
 * no error; a path that pins another namespace is refused.
 */
export function pinNamespace(nsFd: number, path: string): void {
  open(path, O_CREAT | O_RDONLY, 0o600).close();
  const present = statSync(path);
  const wanted = fstatSync(nsFd);
  // All namespaces are files of one file system, nsfs, told apart by their inode.
  if (present.dev === wanted.dev) {
    if (present.ino === wanted.ino) return;
    throw new SyscallError("mount", ERRNO.EBUSY, `${path}, where another namespace is pinned`);
  }
  syscall("mount", `/proc/thread-self/fd/${nsFd}`, path, "", MS_BIND, null);
}

/** Takes the pin away, and the file; a pin that is not there is no error. */
export function unpinNamespace(path: string): void {
  const unmounted = trySyscall("umount2", path, MNT_DETACH | UMOUNT_NOFOLLOW);
  if (unmounted < 0 && unmounted !== -ERRNO.EINVAL && unmounted !== -ERRNO.ENOENT) {
    throw new SyscallError("umount2", -unmounted, path);
  }
  const unlinked = trySyscall("unlinkat", AT_FDCWD, path, 0);
  if (unlinked < 0 && unlinked !== -ERRNO.ENOENT) throw new SyscallError("unlinkat", -unlinked, path);
}

/** True while a namespace is pinned on `path`. */
export function isPinned(path: string): boolean {
  // All namespaces are files of one file system, nsfs.
  return statSync(path, { throwIfNoEntry: false })?.dev === statSync("/proc/thread-self/ns/net").dev;
}
