// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { ERRNO } from "./abi/errno.ts";
import { AT_EMPTY_PATH, O_PATH } from "./abi/fcntl.ts";
import { mountAttr } from "./abi/mount.ts";
import { open } from "./fd.ts";
import { trySyscall } from "./syscall.ts";

/** Where a mount stands in the exchange of mounts with others; see mount_namespaces(7). */
export interface MountSharing {
  /** What is mounted on it is seen by its peers, and the reverse. */
  readonly isShared: boolean;
  /** It sees what its master mounts, and not the reverse; both are true of a slave with peers of its own. */
  readonly isSlave: boolean;
}

/** The sharing of the mount that holds `path`, by the optional fields of proc_pid_mountinfo(5). */
export function mountSharing(path: string): MountSharing {
  const fields = fieldsOfMount(path);
  const optional = fields.slice(6, fields.indexOf("-"));
  return {
    isShared: optional.some((field) => field.startsWith("shared:")),
    isSlave: optional.some((field) => field.startsWith("master:")),
  };
}

/** The type of the file system that `path` is on, as in `ext4`; empty when that cannot be told. */
export function filesystemType(path: string): string {
  const fields = fieldsOfMount(path);
  return fields[fields.indexOf("-") + 1] ?? "";
}

function fieldsOfMount(path: string): string[] {
  using fd = open(path, O_PATH);
  const id = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd.number}`, "utf8"))?.[1];
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((candidate) => candidate.startsWith(`${id} `));
  return line?.split(" ") ?? [];
}

/** True where mount_setattr(2) is there (Linux 5.12): the one call that changes a whole tree of mounts. */
export function canChangeMountTrees(): boolean {
  const attributes = mountAttr(0);
  const answer = trySyscall("mount_setattr", -1, "", AT_EMPTY_PATH, attributes, attributes.length);
  // Nothing is to be changed; or it has looked for the descriptor. So it exists and is not forbidden.
  return answer === 0 || answer === -ERRNO.EBADF;
}
