// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

/** One mount of a process's mount namespace, by proc_pid_mountinfo(5). */
export interface ProcessMount {
  /** `major:minor` of its file system. */
  readonly device: string;
  /** What of the file system is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  readonly type: string;
}

/** The mounts that process `pid` sees, in the order in which they were made. */
export function mountsOfProcess(pid: number): ProcessMount[] {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
  return lines.filter((line) => line !== "").map(parseMount);
}

/** One line of mountinfo. */
export function parseMount(line: string): ProcessMount {
  const fields = line.split(" ");
  const [, , device = "", root = "", mountPoint = "", options = ""] = fields;
  return {
    device,
    root: unescapePath(root),
    mountPoint: unescapePath(mountPoint),
    options: options.split(","),
    type: fields[fields.indexOf("-", 6) + 1] ?? "",
  };
}

/** Space, tab, line feed and backslash stand as three octal digits. */
function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/**
 * Whether criu is to take a mount as given instead of looking into it, both ways: podrt makes it anew for a
 * restore. Not so the root, what is mounted from it (a volume of the image's), and /proc, of the new process
 * namespace.
 */
export function isExternal(mount: ProcessMount, root: ProcessMount | undefined): boolean {
  return mount.type !== "proc" && mount.device !== root?.device;
}
