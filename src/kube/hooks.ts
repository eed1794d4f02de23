// SPDX-License-Identifier: Apache-2.0
import { type Action, failureOf, type Target } from "./actions.ts";
import type { Clock, ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";

export interface HooksDeps {
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly log: (message: string) => void;
}

/** The hooks of a pod's containers, each at most once at a time for one container. */
export interface Hooks {
  /** Resolves to why the hook failed, undefined when it did not or there is none. */
  postStart(container: ContainerSpec, view: ContainerView, sandbox: SandboxView): Promise<string | undefined>;
  /**
   * Ends a container: its preStop hook, then the stop signal, then SIGKILL, the grace being for all of it.
   * Another call with less takes effect at once; with none, there is no hook.
   */
  end(
    container: ContainerSpec | undefined,
    view: ContainerView,
    sandbox: SandboxView,
    graceMs: number,
  ): Promise<void>;
}

/** Kubernetes sets no bound; a container whose hook takes longer is taken to have failed. */
const POST_START_MS = 600_000;
/** What a container has after a hook that took all of the grace, as the kubelet gives it. */
const LEAST_GRACE_MS = 2000;

export function newHooks({ lifecycle, clock, log }: HooksDeps): Hooks {
  const stopping = new Map<string, Promise<void>>();

  const targetOf = (container: ContainerSpec, view: ContainerView, sandbox: SandboxView): Target => ({
    container,
    containerId: view.id,
    sandboxId: sandbox.id,
    address: sandbox.addresses[0] ?? "127.0.0.1",
  });

  const preStop = async (hook: Hook, target: Target, graceMs: number) => {
    const failure = await perform(hook, target, graceMs);
    if (failure !== undefined) log(`container ${target.container.name}: preStop hook failed: ${failure}`);
  };

  const perform = async ({ sleep, ...action }: Hook, target: Target, timeoutMs: number) => {
    if (sleep === undefined) return failureOf(lifecycle, action as Action, target, timeoutMs);
    await wait(Math.min(sleep.seconds * 1000, timeoutMs));
    return undefined;
  };

  const wait = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));

  return {
    async postStart(container, view, sandbox) {
      const hook = container.lifecycle?.postStart;
      if (hook === undefined) return undefined;
      return perform(hook, targetOf(container, view, sandbox), POST_START_MS);
    },
    async end(container, view, sandbox, graceMs) {
      const hook = container?.lifecycle?.preStop;
      let leftMs = graceMs;
      if (hook !== undefined && graceMs > 0 && view.state === "running") {
        const beganMs = clock.nowMs();
        const running = stopping.get(view.id) ?? preStop(hook, targetOf(container!, view, sandbox), graceMs);
        stopping.set(view.id, running);
        const over = Promise.withResolvers<void>();
        const cancel = clock.after(graceMs, over.resolve);
        await Promise.race([running, over.promise]).finally(cancel);
        leftMs = Math.max(Math.min(LEAST_GRACE_MS, graceMs), graceMs - (clock.nowMs() - beganMs));
      }
      await lifecycle.stopContainer(view.id, leftMs).finally(() => stopping.delete(view.id));
    },
  };
}

type Hook = NonNullable<NonNullable<ContainerSpec["lifecycle"]>["preStop"]>;
