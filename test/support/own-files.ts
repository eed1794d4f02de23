// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readlinkSync } from "node:fs";

/**
 * What this process has open, as proc_pid_fd(5) shows it: `pipe:[12345]`, `/tmp/file (deleted)`, by descriptor. A test
 * looks for its own among them, since what other tests of the process left to be closed may go at any moment.
 */
export function ownFiles(): Map<number, string> {
  const files = new Map<number, string>();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      files.set(Number(fd), readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The list itself was open while it was read.
    }
  }
  return files;
}
