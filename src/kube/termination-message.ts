// SPDX-License-Identifier: Apache-2.0
import { chmodSync, closeSync, fstatSync, mkdirSync, openSync, readSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import { type Pod, type PodHome, podFilesDir, podLogsDir } from "./pod.ts";

type Home = Pick<PodHome, "stateDir">;

/** As in Kubernetes: of the file, and of the log where the file is empty. */
const MAX_BYTES = 4096;
const MAX_LOG_BYTES = 2048;
const MAX_LOG_LINES = 80;

export function messagePath({ terminationMessagePath }: ContainerSpec): string {
  return terminationMessagePath ?? "/dev/termination-log";
}

/** The directory with what each attempt of a container has left as its last words. */
export function messagesDir(home: Home, pod: Pod, container: string): string {
  return join(podFilesDir(home, pod), "termination", container);
}

export function messageFile(home: Home, pod: Pod, container: string, attempt: number): string {
  return join(messagesDir(home, pod, container), String(attempt));
}

/** Makes the file that is mounted into a container for it to write to, whoever it runs as. */
export function prepareMessageFile(home: Home, pod: Pod, container: string, attempt: number): void {
  const file = messageFile(home, pod, container, attempt);
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  writeFileSync(file, "");
  chmodSync(file, 0o666);
}

/** What a container has said of its end, empty where it has said nothing. */
export function readMessage(
  home: Home,
  pod: Pod,
  container: ContainerSpec,
  attempt: number,
  exitCode: number,
): string {
  const said = readEnd(messageFile(home, pod, container.name, attempt), MAX_BYTES, "head");
  const isFallback = container.terminationMessagePolicy === "FallbackToLogsOnError" && exitCode !== 0;
  if (said !== "" || !isFallback) return said;
  const log = readEnd(join(podLogsDir(home, pod), container.name, `${attempt}.log`), 4 * MAX_BYTES, "tail");
  // TIME STREAM TAG TEXT; the first line may be a part of one.
  const lines = log.split("\n").map((line) => /^\S+ std(?:out|err) [FP] (.*)$/.exec(line)?.[1]);
  const words = lines.filter((line) => line !== undefined).slice(-MAX_LOG_LINES);
  return Buffer.from(words.join("\n")).subarray(-MAX_LOG_BYTES).toString("utf8");
}

function readEnd(path: string, maxBytes: number, end: "head" | "tail"): string {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    // A container of an earlier podrt has none.
    return "";
  }
  try {
    const from = end === "head" ? 0 : Math.max(0, fstatSync(fd).size - maxBytes);
    const buffer = Buffer.alloc(maxBytes);
    const length = readSync(fd, buffer, 0, maxBytes, from);
    // It is shown on terminals, and is anybody's text.
    return buffer.toString("utf8", 0, length).replace(/[^\P{Cc}\n\t]/gu, "\ufffd");
  } finally {
    closeSync(fd);
  }
}
