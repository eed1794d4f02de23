// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";
import type { Program } from "./program.ts";

const LAST_FD = 0xffff_ffff;

/**
 * Appends the last steps of a child of the daemon's that becomes a program of the host's: it gets three descriptors and
 * these variables, and nothing else of the daemon's. The first word of `command` is the path.
 */
export function becomeHostProgram(
  program: Program,
  stdio: readonly [Fd, Fd, Fd],
  command: readonly string[],
  environment: readonly string[],
): void {
  const table = program.main;
  stdio.forEach((fd, target) => {
    table.step("attach stdio", "dup3", [fd.number, target, 0]);
  });
  table.step("close other descriptors", "close_range", [stdio.length, LAST_FD, 0]);
  const [path = ""] = command;
  const argv = program.stringArray(command);
  table.step(`execute ${path}`, "execve", [path, argv, program.stringArray(environment)]);
}
