// SPDX-License-Identifier: Apache-2.0
import type { Hooks } from "./hooks.ts";
import type { Clock, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { Pod, PodHome } from "./pod.ts";
import type { PodMemory } from "./pod-memory.ts";
import type { PodRecord } from "./pod-record.ts";
import type { PodSandboxes } from "./pod-sandboxes.ts";
import { stopContainers } from "./stop-containers.ts";
import { removePodFiles } from "./volumes.ts";

/** The stop of one pod, and its removal: asked for once or more, done by the worker's passes. */
export interface PodEnd {
  /** Writes down that the pod is to stop, or to go; resolves when that is done. Less grace takes effect at once. */
  begin(graceSeconds: number, remove: boolean): Promise<void>;
  /** Does what was written down. */
  finish(ending: NonNullable<PodRecord["ending"]>): Promise<void>;
  /** Stops the containers of these sandboxes, each in its time. */
  stopContainersOf(sandboxes: readonly SandboxView[], graceSeconds: number): Promise<void>;
}

export interface EndDeps {
  readonly pod: Pod;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly home: PodHome;
  readonly hooks: Hooks;
  readonly memory: Pick<PodMemory, "record" | "save" | "noteExits" | "forget">;
  readonly sandboxes: PodSandboxes;
  /** Called once nothing of the pod is left, before those who wait for that go on. */
  readonly onGone: () => void;
}

export function podEnd(deps: EndDeps): PodEnd {
  const { pod, lifecycle, clock, home, hooks, memory, sandboxes } = deps;
  /** Of the stop in flight. */
  let stoppingSeconds: number | undefined;
  let waiters: { readonly remove: boolean; readonly resolve: () => void }[] = [];

  function settle(isRemoved: boolean): void {
    const done = waiters.filter((waiter) => isRemoved || !waiter.remove);
    waiters = waiters.filter((waiter) => !done.includes(waiter));
    for (const { resolve } of done) resolve();
  }

  async function stopContainersOf(found: readonly SandboxView[], graceSeconds: number): Promise<void> {
    stoppingSeconds = graceSeconds;
    await Promise.all(
      found.map((sandbox) => stopContainers({ lifecycle, clock, hooks }, pod.spec, sandbox, graceSeconds)),
    ).finally(() => {
      stoppingSeconds = undefined;
    });
  }

  return {
    stopContainersOf,
    begin(graceSeconds, remove) {
      const before = memory.record().ending;
      memory.save({
        ending: {
          graceSeconds: Math.min(graceSeconds, before?.graceSeconds ?? graceSeconds),
          remove: remove || before?.remove === true,
        },
      });
      if (stoppingSeconds !== undefined && graceSeconds < stoppingSeconds) {
        // The pass in flight waits for longer; what a shorter stop cannot do, that pass reports.
        for (const sandbox of sandboxes.list()) {
          void stopContainers({ lifecycle, clock, hooks }, pod.spec, sandbox, graceSeconds).catch(() => {});
        }
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      waiters.push({ remove, resolve });
      return promise;
    },
    async finish({ graceSeconds }) {
      const found = sandboxes.list();
      await stopContainersOf(found, graceSeconds);
      for (const { id } of found) {
        await sandboxes.stop(id);
        memory.noteExits(id, "sandbox");
      }
      if (memory.record().ending?.remove !== true) return settle(false);
      for (const { id } of found) await sandboxes.remove(id);
      await removePodFiles(pod, home);
      memory.forget();
      deps.onGone();
      settle(true);
    },
  };
}
