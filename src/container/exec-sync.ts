// SPDX-License-Identifier: Apache-2.0
import { CanceledError, DeadlineExceededError } from "../errors.ts";
import { enterPhase } from "../lib/operation.ts";
import { type Exec, startExec } from "./exec.ts";
import { collectOutput, newPatience } from "./exec-output.ts";
import { newOutputRoom } from "./output-room.ts";
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
  using patience = newPatience(limit.passed);
  const { command } = request;
  const starting = startExec(runtime, id, { command, tty: false, stdin: false, patience: patience.until });
  let exec: Exec;
  try {
    enterPhase("launch");
    exec = await Promise.race([starting, limit.passed]);
    patience[Symbol.dispose]();
  } catch (error) {
    // The launch cannot be called back: what it brings is killed when it is there.
    void starting.then(discard, () => {});
    throw error;
  }
  using room = newOutputRoom();
  const output = collectOutput(exec, room);
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
