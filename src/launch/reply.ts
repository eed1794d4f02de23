// SPDX-License-Identifier: Apache-2.0
import { UnavailableError } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import type { Fd } from "../linux/fd.ts";
import { PipeWatch } from "../linux/pipe-watch.ts";
import { SyscallError, syscall, trySyscall } from "../linux/syscall.ts";
import { LaunchError } from "./launch-error.ts";
import type { Image } from "./program.ts";

/*
 * What the monitor and its children report of one launch, on a pipe of its own (pause/README.md, "Reply"). The pipe's
 * end of file says that every child has exec'ed or ended.
 */

const RECORD_BYTES = 16;
// A report of the monitor's, and one of each depth of children: far less than this.
const LONGEST_REPLY_BYTES = 4096;

/**
 * Waits for the reports of the launch `what` that is under way, `timeoutMs` at most; the monitor's own must be among
 * them, or they fail.
 */
export async function readReply(answers: Fd, image: Image, timeoutMs: number, what: string): Promise<void> {
  const bytes = Buffer.alloc(LONGEST_REPLY_BYTES);
  let length = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  using _watch = new PipeWatch(answers, () => {
    for (;;) {
      const count = trySyscall("read", answers.number, bytes.subarray(length), bytes.length - length);
      if (count === -ERRNO.EAGAIN) return;
      if (count === 0) return resolve();
      if (count < 0) return reject(new SyscallError("read", -count));
      length += count;
    }
  });
  await withDeadline(promise, timeoutMs, what);
  judge(bytes.subarray(0, length), image);
}

/** The same for a launch whose process has ended: its reports are there. */
export function takeReply(answers: Fd, image: Image): void {
  const bytes = Buffer.alloc(LONGEST_REPLY_BYTES);
  judge(bytes.subarray(0, syscall("read", answers.number, bytes, bytes.length)), image);
}

function judge(bytes: Buffer, image: Image): void {
  let answered = false;
  let failure: LaunchError | undefined;
  for (let at = 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    const depth = bytes.readUInt32LE(at);
    const result = Number(bytes.readBigInt64LE(at + 8));
    if (depth === 0) answered = true;
    if (result >= 0) continue;
    const index = bytes.readUInt32LE(at + 4);
    failure ??= new LaunchError(image.stepName(depth, index), -result, depth, image.stepCall(depth, index));
  }
  if (failure !== undefined) throw failure;
  if (!answered) throw new UnavailableError("the monitor ended before it had answered");
}
