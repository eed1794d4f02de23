// SPDX-License-Identifier: Apache-2.0
import { allContainers, sidecarsOf } from "./container-order.ts";
import type { Hooks } from "./hooks.ts";
import type { Clock, ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { PodSpec } from "./manifest/fields.ts";

/** A sidecar whose turn comes late has so long to end all the same, as the kubelet gives it. */
const LEAST_GRACE_MS = 2000;

export interface StopDeps {
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly hooks: Hooks;
}

/**
 * Ends the containers of a sandbox: first all but the sidecars, together, then the sidecars, the last
 * first, each once the one before has ended. The grace is for all of it.
 */
export async function stopContainers(
  { lifecycle, clock, hooks }: StopDeps,
  spec: PodSpec,
  sandbox: SandboxView,
  graceSeconds: number,
): Promise<void> {
  const sidecars = sidecarsOf(spec)
    .map(({ name }) => name)
    .toReversed();
  const endMs = clock.nowMs() + graceSeconds * 1000;
  const leastMs = Math.min(LEAST_GRACE_MS, graceSeconds * 1000);
  const stopLive = async (isMeant: (name: string) => boolean) => {
    const live = lifecycle.containersOf(sandbox.id).filter((view) => isLive(view) && isMeant(view.name));
    const graceMs = Math.max(leastMs, endMs - clock.nowMs());
    const specOf = ({ name }: ContainerView) => allContainers(spec).find((other) => other.name === name);
    await Promise.all(live.map((view) => hooks.end(specOf(view), view, sandbox, graceMs)));
  };
  await stopLive((name) => !sidecars.includes(name));
  for (const sidecar of sidecars) await stopLive((name) => name === sidecar);
}

/** Whether a container still has or may yet get a process. */
export function isLive({ state }: ContainerView): boolean {
  return state === "running" || state === "created";
}
