// SPDX-License-Identifier: Apache-2.0
import { signalName } from "../../linux/abi/signal.ts";

const SIGNAL_BASE = 128;

const SIGNALS: Readonly<Record<string, string>> = {
  SIGHUP: "its terminal was closed, or it was told to hang up",
  SIGINT: "it was interrupted",
  SIGQUIT: "it was told to quit and to dump its memory",
  SIGILL: "it executed an instruction that this processor does not have",
  SIGTRAP: "it ran into a breakpoint",
  SIGABRT: "it gave up by itself, as after a failed assertion",
  SIGBUS: "it touched memory that has nothing behind it, as of a file that was cut off",
  SIGFPE: "it computed something impossible, such as a division by zero",
  SIGKILL: "it was killed and could do nothing about it",
  SIGSEGV: "it touched memory that is not its own",
  SIGPIPE: "it wrote to a pipe that nobody reads",
  SIGALRM: "a timer of its own went off",
  SIGTERM: "it was told to end",
  SIGXCPU: "it used up its limit of processor time",
  SIGXFSZ: "a file became larger than its limit",
  SIGSYS: "it made a system call that is forbidden, as by a seccomp profile",
};

const CODES: Readonly<Record<number, string>> = {
  0: "it ended by itself and reports success",
  1: "it ended by itself and reports a failure; its log says of what",
  2: "it ended by itself; shells and many tools report wrong usage so",
  126: "a shell in it found the command but could not execute it",
  127: "a shell in it did not find a command",
};

/** An exit code, as a shell has it, in words: `exit code 137: ended by SIGKILL, it was killed …`. */
export function exitInWords(code: number): string {
  const signo = code - SIGNAL_BASE;
  if (signo > 0 && signo <= 64) {
    const name = signalName(signo);
    const meaning = SIGNALS[name];
    return `exit code ${code}: ended by ${name}${meaning === undefined ? "" : `, ${meaning}`}`;
  }
  return `exit code ${code}: ${CODES[code] ?? "it ended by itself; what the number means, its own documentation tells"}`;
}
