// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { spawnWithEngine, waitForEnd } from "../../src/launch/engine.ts";
import { lendLowFds } from "../../src/launch/low-fds.ts";
import { newProgram } from "../../src/launch/program.ts";
import { O_RDONLY } from "../../src/linux/abi/fcntl.ts";
import { CLONE_FILES } from "../../src/linux/abi/sched.ts";
import { SIGNAL } from "../../src/linux/abi/signal.ts";
import { open } from "../../src/linux/fd.ts";

const F_GETFD = 1;
const fileOf = (fd: number) => readlinkSync(`/proc/self/fd/${fd}`);

test("a process that is made while many files are open has those of a low number alone", () => {
  using lent = open("/etc/hostname", O_RDONLY);
  using first = lendLowFds([lent]);
  using high = lent.duplicate(500);
  const look = (fd: number, keepOnly: boolean) => {
    const program = newProgram("a look");
    if (keepOnly) first.keepOnly(program.main);
    program.main.step("see the descriptor", "fcntl", [fd, F_GETFD, 0]);
    waitForEnd(spawnWithEngine(program, CLONE_FILES | SIGNAL.SIGCHLD));
  };
  const [low = -1] = first.numbers;
  expect(low).toBeLessThan(high.number);
  look(high.number, false);
  expect(() => look(high.number, true)).toThrow("see the descriptor: EBADF");
  look(low, true);
  expect([fileOf(low), fileOf(high.number)]).toEqual(["/etc/hostname", "/etc/hostname"]);
});

test("numbers that were lent hold nothing open afterwards, and are lent again", () => {
  using file = open("/etc/hostname", O_RDONLY);
  const first = lendLowFds([file, file]);
  expect(first.numbers.map(fileOf)).toEqual(["/etc/hostname", "/etc/hostname"]);
  first[Symbol.dispose]();
  expect(first.numbers.map(fileOf)).toEqual(["/dev/null", "/dev/null"]);
  using second = lendLowFds([file, file]);
  expect(second.numbers).toEqual(first.numbers);
});
