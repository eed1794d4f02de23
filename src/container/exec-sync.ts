// SPDX-License-Identifier: Apache-2.0
import { CanceledError, DeadlineExceededError, ResourceExhaustedError } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import { enterPhase } from "../lib/operation.ts";
import type { Fd } from "../linux/fd.ts";
import { type Exec, startExec } from "./exec.ts";
import { newOutputRoom, type OutputRoom } from "./output-room.ts";
import type { Runtime } from "./runtime.ts";

export interface ExecSyncRequest {
  readonly command: readonly string[];
  /** 0 for no limit. */
  readonly timeoutMs: number;
}

export interface ExecSyncResult {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly exitCode: number;
}

// Time for output to arrive after the process has ended: longer means that a child of it holds the pipe.
const DRAIN_TIMEOUT_MS = 1000;

/**
 * Runs a command in a container to its end. `timeoutMs` is total, from the start of the launch to the
 * last byte of output: past it, or when the caller gives up, everything that the command has started is
 * killed, and a DeadlineExceededError or CanceledError says so. The container itself goes on.
 *
 * A command that has ended in time has a result, even when something it left running still has its output
 * open: then with what had arrived a second later.
 */
export async function execSync(
  runtime: Runtime,
  id: string,
  request: ExecSyncRequest,
  caller?: AbortSignal,
): Promise<ExecSyncResult> {
  using limit = startLimit(request, caller);
  const starting = startExec(runtime, id, { command: request.command, tty: false, stdin: false });
  let exec: Exec;
  try {
    enterPhase("launch");
    exec = await Promise.race([starting, limit.passed]);
  } catch (error) {
    // The launch cannot be called back: what it brings is killed when it is there.
    void starting.then(discard, () => {});
    throw error;
  }
  using room = newOutputRoom();
  const output = collect(exec, room);
  try {
    enterPhase("command");
    const exitCode = await Promise.race([exec.exited, limit.passed, output.overflow]);
    await output.drained(limit.passed);
    return { ...output.result(), exitCode };
  } catch (error) {
    await exec.kill();
    throw error;
  } finally {
    await output.stop();
  }
}

async function discard(exec: Exec): Promise<void> {
  for (const fd of [exec.stdout, exec.stderr]) fd?.close();
  await exec.kill();
}

interface Limit extends Disposable {
  /** Rejects once the time is over or the caller has given up. */
  readonly passed: Promise<never>;
}

function startLimit({ command, timeoutMs }: ExecSyncRequest, caller: AbortSignal | undefined): Limit {
  const shown = command.join(" ").slice(0, 200);
  const { promise, reject } = Promise.withResolvers<never>();
  // Whoever waits for it hears of it; nobody may be waiting.
  promise.catch(() => {});
  const onTimeout = () =>
    reject(new DeadlineExceededError(`exec of ${shown} did not end within ${timeoutMs} ms and was killed`));
  const onAbort = () => reject(new CanceledError(`exec of ${shown} was canceled by its caller`));
  const timer = timeoutMs > 0 ? setTimeout(onTimeout, timeoutMs) : undefined;
  caller?.addEventListener("abort", onAbort, { once: true });
  if (caller?.aborted) onAbort();
  return {
    passed: promise,
    [Symbol.dispose]() {
      clearTimeout(timer);
      caller?.removeEventListener("abort", onAbort);
    },
  };
}

interface Collection {
  /** Rejects when there is no room for more. */
  readonly overflow: Promise<never>;
  /** Waits for the end of both streams, a second at most, and not beyond `limit`; rejects as `overflow` does. */
  drained(limit: Promise<never>): Promise<void>;
  result(): { readonly stdout: Uint8Array; readonly stderr: Uint8Array };
  /** Stops reading and closes the descriptors. */
  stop(): Promise<void>;
}

/** Reads both outputs into memory as far as there is room, and to their end without keeping more. */
function collect(exec: Exec, room: OutputRoom): Collection {
  const overflow = Promise.withResolvers<never>();
  // It may come when nobody waits any more.
  overflow.promise.catch(() => {});
  const read = (fd: Fd) => {
    const chunks: Uint8Array[] = [];
    const reader = Bun.file(fd.number).stream().getReader();
    const run = async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const kept = room.take(value.length);
        if (kept > 0) chunks.push(value.subarray(0, kept));
      }
    };
    const onFailure = (error: unknown) => {
      if (!(error instanceof ResourceExhaustedError)) return;
      chunks.length = 0;
      overflow.reject(error);
    };
    return { fd, chunks, reader, done: run().catch(onFailure) };
  };
  const stdout = read(exec.stdout);
  const stderr = read(exec.stderr as Fd);
  const streams = [stdout, stderr];
  return {
    overflow: overflow.promise,
    async drained(limit) {
      const timer = new AbortController();
      const expiry = sleep(DRAIN_TIMEOUT_MS, timer.signal).catch(() => {});
      const ends = Promise.all(streams.map(({ done }) => done));
      await Promise.race([ends, expiry, limit.catch(() => {}), overflow.promise]);
      timer.abort();
    },
    result: () => ({ stdout: Buffer.concat(stdout.chunks), stderr: Buffer.concat(stderr.chunks) }),
    async stop() {
      for (const { fd, reader, done } of streams) {
        await reader.cancel().catch(() => {});
        await done;
        fd.close();
      }
    },
  };
}
