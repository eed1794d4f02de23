// SPDX-License-Identifier: Apache-2.0
import { CanceledError, DeadlineExceededError } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import type { Fd } from "../linux/fd.ts";
import { signal } from "../linux/process.ts";
import { killTree } from "../linux/process-tree.ts";
import { type Exec, startExec } from "./exec.ts";
import type { Runtime } from "./runtime.ts";

export interface ExecSyncResult {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly exitCode: number;
}

// A reply may have 16 MiB altogether; what goes beyond is dropped, as clients expect.
const OUTPUT_LIMIT_BYTES = 8 * 1024 * 1024 - 64 * 1024;
// Time for output to arrive after the process has ended: longer means that a child of it holds the pipe.
const DRAIN_TIMEOUT_MS = 1000;

/**
 * Runs a command in a container to its end. `timeoutMs` is total, 0 for none: past it everything
 * that the command started is killed, and DeadlineExceededError says so.
 */
export async function execSync(
  runtime: Runtime,
  id: string,
  request: { command: readonly string[]; timeoutMs: number },
  signalFromCaller?: AbortSignal,
): Promise<ExecSyncResult> {
  const exec = await startExec(runtime, id, { command: request.command, tty: false, stdin: false });
  const stdout = collect(exec.stdout);
  const stderr = collect(exec.stderr as Fd);
  try {
    const exitCode = await exitWithin(exec, request, signalFromCaller);
    const timer = new AbortController();
    await Promise.race([
      Promise.all([stdout.done, stderr.done]),
      sleep(DRAIN_TIMEOUT_MS, timer.signal).catch(() => {}),
    ]);
    timer.abort();
    return { stdout: stdout.bytes(), stderr: stderr.bytes(), exitCode };
  } finally {
    await Promise.all([stdout.stop(), stderr.stop()]);
  }
}

async function exitWithin(
  exec: Exec,
  request: { command: readonly string[]; timeoutMs: number },
  caller: AbortSignal | undefined,
): Promise<number> {
  const over = Promise.withResolvers<"timeout" | "canceled">();
  const timer =
    request.timeoutMs > 0 ? setTimeout(() => over.resolve("timeout"), request.timeoutMs) : undefined;
  const onAbort = () => over.resolve("canceled");
  caller?.addEventListener("abort", onAbort, { once: true });
  if (caller?.aborted) onAbort();
  try {
    const outcome = await Promise.race([exec.exited, over.promise]);
    if (typeof outcome === "number") return outcome;
    killTree(exec.process);
    signal(exec.process, SIGNAL.SIGKILL);
    await exec.exited;
    const command = request.command.join(" ").slice(0, 200);
    if (outcome === "canceled") throw new CanceledError(`exec of ${command} was canceled by its caller`);
    throw new DeadlineExceededError(
      `exec of ${command} did not end within ${request.timeoutMs} ms and was killed`,
    );
  } finally {
    clearTimeout(timer);
    caller?.removeEventListener("abort", onAbort);
  }
}

interface Collection {
  readonly done: Promise<void>;
  bytes(): Uint8Array;
  /** Stops reading and closes the descriptor. */
  stop(): Promise<void>;
}

/** Reads a pipe into memory up to the limit, and to its end without keeping more. */
function collect(fd: Fd): Collection {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = Bun.file(fd.number).stream().getReader();
  const read = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const room = OUTPUT_LIMIT_BYTES - size;
      if (room > 0) chunks.push(value.subarray(0, room));
      size += Math.min(room, value.length);
    }
  };
  const done = read().catch(() => {});
  return {
    done,
    bytes: () => Buffer.concat(chunks),
    async stop() {
      await reader.cancel().catch(() => {});
      await done;
      fd.close();
    },
  };
}
