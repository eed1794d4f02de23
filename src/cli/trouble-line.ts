// SPDX-License-Identifier: Apache-2.0
import { type Failure, likelyCause } from "./why/likely-cause.ts";

/** What ails a pod or container, in a line: and, where the message does not say it itself, what to do about it. */
export function troubleLine(title: string, reason: string, message: string): string {
  const line = [title, reason, message].filter((part) => part !== "").join(": ");
  if (message.includes("; ")) return line;
  const advice = likelyCause(failureOf(reason, message))?.advice;
  return advice === undefined ? line : `${line}; ${advice}`;
}

/** Of a container that waits to be started again it is the end before that counts (kube/pod-status.ts). */
function failureOf(reason: string, message: string): Failure {
  const [, ended, code, why = ""] =
    /^ended last with (\S+) and exit code (\d+)(?:: (.*))?$/s.exec(message) ?? [];
  return ended === undefined ? { reason, message } : { reason: ended, message: why, exitCode: Number(code) };
}
