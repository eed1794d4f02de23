// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError } from "../errors.ts";
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { signal } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { ownsPidNamespace } from "./exit.ts";
import { signalByOci } from "./oci/end.ts";
import type { Runtime } from "./runtime.ts";
import { containerState } from "./status.ts";

// After SIGKILL nothing but a process stuck in the kernel takes longer.
const KILL_TIMEOUT_MS = 15_000;

/**
 * Ends a running container: its stop signal, then after `timeoutMs` SIGKILL to everything in it.
 * Returns when the exit is recorded; any other state, and an unknown id, is fine as it is.
 *
 * No lock is held while waiting, so a second call with a shorter timeout takes effect at once.
 */
export async function stopContainer(runtime: Runtime, id: string, timeoutMs: number): Promise<void> {
  noteSubject(id);
  const record = runtime.containers.get(id);
  if (record === undefined || containerState(record) !== "running" || record.process === undefined) return;
  if (timeoutMs > 0) {
    enterPhase("grace");
    const isSent = await signalByOci(runtime, record, record.stopSignal);
    if (!isSent) signal(record.process, record.stopSignal);
    if (await exited(runtime, id, timeoutMs)) return;
  }
  enterPhase("kill");
  await kill(runtime, record);
  if (await exited(runtime, id, KILL_TIMEOUT_MS)) return;
  throw new DeadlineExceededError(
    `container ${id} did not end within ${KILL_TIMEOUT_MS} ms of SIGKILL; process ${record.process.pid} may be stuck in the kernel, see /proc/${record.process.pid}/stack`,
  );
}

async function kill(runtime: Runtime, record: ContainerRecord): Promise<void> {
  if (record.process !== undefined) signal(record.process, SIGNAL.SIGKILL);
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  if (!cgroup.exists()) return;
  // With PID 1 of a namespace the kernel kills everything else in it.
  if (!ownsPidNamespace(record)) await cgroup.kill();
  // Who is frozen, by somebody else or by a checkpoint that was cut off, cannot die before.
  cgroup.thaw();
}

/** Waits until the container's exit is recorded; false when `timeoutMs` pass first. */
export function exited(runtime: Runtime, id: string, timeoutMs: number): Promise<boolean> {
  const isOver = () => {
    const record = runtime.containers.get(id);
    return record === undefined || containerState(record) !== "running";
  };
  if (isOver()) return Promise.resolve(true);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), timeoutMs);
  const unsubscribe = runtime.events.subscribe((event) => {
    if (event.containerId === id && isOver()) resolve(true);
  });
  return promise.finally(() => {
    clearTimeout(timer);
    unsubscribe();
  });
}
