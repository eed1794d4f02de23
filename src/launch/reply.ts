// SPDX-License-Identifier: Apache-2.0
import { UnavailableError } from "../errors.ts";
import type { Fd } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import { LaunchError } from "./launch-error.ts";
import type { Image } from "./program.ts";

/*
 * What the monitor and its children report of one launch, on a pipe of its own (pause/README.md, "Reply"). The pipe's
 * end of file says that every child has exec'ed or ended.
 */

const RECORD_BYTES = 16;
// A report of the monitor's, and one of each depth of children: far less than this.
const LONGEST_REPLY_BYTES = 4096;

/** Waits for the reports of a launch that is under way; the monitor's own must be among them, or they fail. */
export async function readReply(answers: Fd, image: Image): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of Bun.file(answers.number).stream()) chunks.push(chunk);
  judge(Buffer.concat(chunks), image);
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
