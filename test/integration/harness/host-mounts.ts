// SPDX-License-Identifier: Apache-2.0
import { mkdirSync } from "node:fs";
import { outputOf } from "./command.ts";
import { procText } from "./proc.ts";

/** A mount that a test has made on a directory of its own; leaving the block takes it away, with all below it. */
export interface HostMount extends AsyncDisposable {
  readonly path: string;
}

/** A new file system of the given type on a new directory. */
export async function mountNew(type: string, path: string, options = "rw"): Promise<HostMount> {
  mkdirSync(path, { recursive: true });
  await outputOf("mount", ["-t", type, "-o", options, type, path]);
  return hostMount(path);
}

/** A new directory mounted on itself, with propagation of its own: `shared`, `private`. */
export async function mountOnItself(path: string, propagation: "shared" | "private"): Promise<HostMount> {
  mkdirSync(path, { recursive: true });
  await outputOf("mount", ["--bind", path, path]);
  await outputOf("mount", [`--make-${propagation}`, path]);
  return hostMount(path);
}

function hostMount(path: string): HostMount {
  return {
    path,
    async [Symbol.asyncDispose]() {
      await outputOf("umount", ["-R", "-l", path]);
    },
  };
}

/** A line of /proc/PID/mountinfo; see proc_pid_mountinfo(5). */
export interface MountLine {
  /** In the mount namespace, as seen from the process's root. */
  readonly path: string;
  /** Of the mount itself: `ro`, `nosuid`, … */
  readonly options: readonly string[];
  /** `shared:N`, `master:N`, … */
  readonly optional: readonly string[];
  readonly type: string;
}

/** What the kernel says of the mounts that a process sees, in the order in which they were made. */
export function mountsOf(pid: number | "self"): MountLine[] {
  return procText(`/proc/${pid}/mountinfo`)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const fields = line.split(" ");
      const dash = fields.indexOf("-");
      return {
        path: fields[4] ?? "",
        options: (fields[5] ?? "").split(","),
        optional: fields.slice(6, dash),
        type: fields[dash + 1] ?? "",
      };
    });
}

/** The mount that is on top at a path; an error where there is none. */
export function mountAt(pid: number | "self", path: string): MountLine {
  const found = mountsOf(pid).findLast((mount) => mount.path === path);
  if (found === undefined) throw new Error(`process ${pid} has no mount at ${path}`);
  return found;
}
