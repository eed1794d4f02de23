// SPDX-License-Identifier: Apache-2.0
import { PR_SET_PDEATHSIG } from "../linux/abi/prctl.ts";
import { SIG_DFL, SIGNAL } from "../linux/abi/signal.ts";
import type { Fd } from "../linux/fd.ts";
import type { Program } from "./program.ts";
import { setSignalAction, unblockSignals } from "./signals.ts";

const LAST_FD = 0xffff_ffff;

/**
 * Appends the first steps of a program of the host's that is of no use without the daemon: it leads a session, ends
 * with the daemon, has the signals that any program begins with, and the root as its directory.
 */
export function leadHostSession({ main }: Program): void {
  main.step("become a session leader", "setsid", []);
  main.step("end with the daemon", "prctl", [PR_SET_PDEATHSIG, SIGNAL.SIGKILL, 0, 0, 0]);
  // What the JavaScript engine ignores would stay ignored (execve(2)).
  for (const name of ["SIGPIPE", "SIGXFSZ"] as const) setSignalAction(main, name, SIG_DFL);
  unblockSignals(main);
  main.step("enter the root directory", "chdir", ["/"]);
}

/**
 * Appends the last steps of a child of the daemon's that becomes a program of the host's: it gets these descriptors, the
 * first as its stdin and so on, these variables, and nothing else of the daemon's. The first word of `command` is the
 * path. No descriptor's number may be that of another's place.
 */
export function becomeHostProgram(
  program: Program,
  descriptors: readonly [Fd, Fd, Fd, ...Fd[]],
  command: readonly string[],
  environment: readonly string[],
): void {
  const table = program.main;
  descriptors.forEach((fd, target) => {
    table.step(`attach descriptor ${target}`, "dup3", [fd.number, target, 0]);
  });
  table.step("close other descriptors", "close_range", [descriptors.length, LAST_FD, 0]);
  const [path = ""] = command;
  const argv = program.stringArray(command);
  table.step(`execute ${path}`, "execve", [path, argv, program.stringArray(environment)]);
}
