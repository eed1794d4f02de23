// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { LaunchError } from "../launch/launch-error.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { pipe } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import { commandFailure, explain } from "./exec-failure.ts";

for (const [errno, call, code] of [
  ["ENOENT", "execve", 127],
  ["EACCES", "execve", 126],
  ["ENOEXEC", "execve", 126],
  ["E2BIG", "execve", 126],
  ["ENOMEM", "execve", undefined],
  ["EAGAIN", "execve", undefined],
  ["EIO", "execve", undefined],
  ["ENOENT", "openat", undefined],
  ["EACCES", "setns", undefined],
] as const) {
  test(`${errno} of ${call} is ${code === undefined ? "no failure of the command" : code}`, () => {
    expect(commandFailure(new LaunchError("exec: a step", ERRNO[errno], 1, call))).toBe(code);
  });
}

test("the reason is one line that fits into a pipe nobody reads", () => {
  const { read, write } = pipe();
  explain(new LaunchError(`execute /${"x".repeat(200_000)}`, ERRNO.ENAMETOOLONG, 1, "execve"), write);
  write.close();
  const bytes = new Uint8Array(10_000);
  const line = new TextDecoder().decode(bytes.subarray(0, syscall("read", read.number, bytes, 10_000)));
  read.close();
  expect(line).toMatch(/^podrt: execute \/x{2000,2048}\n$/);
});
