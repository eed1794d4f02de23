// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from "node:fs";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { newPassedFds, type PassedFds } from "./passed-fds.ts";

/** The descriptors of a program that is only looked at, each with a name for what it is, or stands for. */
export interface ListedFds extends PassedFds {
  /** An open descriptor that stands for what a launch would make: `what`, as in `the pause`. */
  standIn(what: string, kind?: "file" | "directory"): Fd;
  /** Gives an open descriptor a name. */
  named(fd: Fd, what: string): Fd;
  /** By their numbers in the monitor. */
  readonly descriptors: ReadonlyMap<number, string>;
}

export function newListedFds(): ListedFds {
  const passed = newPassedFds();
  const names = new WeakMap<Fd, string>();
  const descriptors = new Map<number, string>();
  const nameOf = (fd: Fd) =>
    names.get(fd) ?? readlinkSync(`/proc/self/fd/${fd.number}`).replace(/ \(deleted\)$/, "");
  const named = (fd: Fd, what: string) => {
    names.set(fd, what);
    return fd;
  };
  return {
    fds: passed.fds,
    descriptors,
    own: passed.own,
    named,
    standIn: (what, kind = "file") =>
      passed.own(named(kind === "file" ? open("/dev/null", O_PATH) : open("/", O_PATH | O_DIRECTORY), what)),
    add(fd) {
      const name = nameOf(fd);
      const number = passed.add(fd);
      descriptors.set(number, name);
      return number;
    },
    give(fd, recipient) {
      const name = nameOf(fd);
      const operand = passed.give(fd, recipient);
      if (typeof operand === "number") descriptors.set(operand, name);
      return operand;
    },
    [Symbol.dispose]: () => passed[Symbol.dispose](),
  };
}
