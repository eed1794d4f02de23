// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../errors.ts";
import { MNT_DETACH } from "../linux/abi/mount.ts";
import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER } from "../linux/abi/sched.ts";
import type { Fd } from "../linux/fd.ts";
import { isErrno, trySyscall } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import { spawnWithEngine, waitForEnd } from "./engine.ts";
import { type ShownIds, withShownIds } from "./idmapped-directories.ts";
import { newProgram } from "./program.ts";
import { mapMount, mountFilesystem, mountOverlay, newFilesystem } from "./rootfs.ts";
import { newUserNamespace } from "./user-namespace.ts";

/** Whether pods can have user namespaces on this machine, and if not, why. */
export type UserNamespaceSupport =
  | { readonly supported: true; readonly attachAt: ShownIds["attachAt"] }
  | { readonly supported: false; readonly reason: string };

// Any ids will do that are not the host's own.
const FIRST_ID = 65_536;
const IDS = 65_536;

/**
 * Tries all that a pod with a user namespace needs of the kernel, with `directory` standing for the file
 * system that layers are on: an overlay of mapped layers, a mapped tmpfs for devices, and the file systems
 * that only a process inside may mount. Takes a few milliseconds and leaves nothing behind. `mountPoint` is an
 * empty directory, for kernels that need one.
 */
export function probeUserNamespaces(directory: string, mountPoint: string): UserNamespaceSupport {
  const first = probeOnce(directory, mountPoint);
  // What fails for want of memory or descriptors must not be said of the machine for as long as the daemon runs.
  return first.supported ? first : probeOnce(directory, mountPoint);
}

function probeOnce(directory: string, mountPoint: string): UserNamespaceSupport {
  const range = [{ containerID: 0, hostID: FIRST_ID, size: IDS }];
  const mappings = { uids: range, gids: range };
  const scratch = join(directory, "user-namespace-probe");
  try {
    using namespace = attempt("make a user namespace", () => newUserNamespace(mappings));
    const attachAt = attempt("map the ids of layers", () => findAttachment(scratch, mappings, mountPoint));
    attempt("map the ids of a tmpfs", () => tryTmpfs(namespace));
    attempt("mount file systems in a user namespace", tryMounts);
    return { supported: true, attachAt };
  } catch (error) {
    return { supported: false, reason: messageOf(error) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Error(`cannot ${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** Detached layers where the kernel takes them, attached ones otherwise. */
function findAttachment(scratch: string, mappings: IdMappings, mountPoint: string): ShownIds["attachAt"] {
  try {
    tryOverlay(scratch, { mappings, attachAt: undefined });
    return undefined;
  } catch (error) {
    if (!isErrno(error, "EINVAL")) throw error;
  }
  // A daemon that was killed at that moment has left its own.
  while (trySyscall("umount2", mountPoint, MNT_DETACH) === 0);
  tryOverlay(scratch, { mappings, attachAt: mountPoint });
  return mountPoint;
}

function tryOverlay(scratch: string, ids: ShownIds): void {
  const [lower, upper, work] = ["lower", "upper", "work"].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ];
  for (const directory of [join(lower, "etc"), upper, work]) mkdirSync(directory, { recursive: true });
  using overlay = withShownIds([lower], ids, (lowerDirs) =>
    mountOverlay({ lowerDirs, upperDir: upper, workDir: work }),
  );
  const { uid } = statSync(`/proc/self/fd/${overlay.number}/etc`);
  if (uid !== FIRST_ID) throw new Error(`a file of user 0 shows as of user ${uid}`);
}

function tryTmpfs(namespace: Fd): void {
  using filesystem = newFilesystem("tmpfs", [], 0);
  mapMount(filesystem, namespace);
}

/** Where something of /proc or /sys is hidden, as in many containers, the kernel lets nobody mount them anew. */
function tryMounts(): void {
  const program = newProgram("probe");
  for (const type of ["proc", "sysfs", "mqueue"]) mountFilesystem(program.main, type, [], 0);
  const flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC;
  waitForEnd(spawnWithEngine(program, flags));
}
