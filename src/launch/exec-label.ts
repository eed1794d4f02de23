// SPDX-License-Identifier: Apache-2.0
import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../linux/abi/fcntl.ts";
import type { Table } from "./program.ts";

/** What a Linux security module is to make of a process at its next execve (proc_pid_attr(5)). */
export interface ExecLabel {
  /** For errors: `the AppArmor profile podrt-default`. */
  readonly what: string;
  /** A file below /proc/self/attr, as in `apparmor/exec`. */
  readonly attribute: string;
  /** What is written to it. */
  readonly text: string;
}

/**
 * Appends the writes that label the process from its execve on, fork and identity notwithstanding.
 *
 * They come while /proc is still the host's: one that an image has a say in could send them elsewhere.
 * They come before no_new_privs too, after which a module may refuse the change.
 */
export function labelExec(table: Table, labels: readonly ExecLabel[]): void {
  for (const { what, attribute, text } of labels) {
    const path = `/proc/self/attr/${attribute}`;
    const file = table.answer(`${what}: open ${path}`, "openat", [AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0]);
    table.step(`${what}: ask for it`, "write", [file, text, Buffer.byteLength(text)]);
    table.step(`${what}: close ${path}`, "close", [file]);
  }
}
