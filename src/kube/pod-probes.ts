// SPDX-License-Identifier: Apache-2.0

import type { Hooks } from "./hooks.ts";
import type { Clock, ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodMemory } from "./pod-memory.ts";
import type { PodNote } from "./pod-note.ts";
import type { ContainerMemory } from "./pod-record.ts";
import { type ProbeAnswer, type Prober, type Readiness, startProber } from "./prober.ts";

export interface ProbesDeps {
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly memory: Pick<PodMemory, "container" | "notePostStart" | "noteReadiness" | "noteUnhealthy">;
  readonly hooks: Hooks;
  /** Something has changed that the next pass should see. */
  readonly poke: () => void;
  readonly note: (note: PodNote) => void;
}

/** The probes of a pod's containers, after their postStart hooks. */
export interface PodProbes {
  /** Lets a running container have its postStart hook and then probes it, unless that goes on already. */
  watch(container: ContainerSpec, view: ContainerView, sandbox: SandboxView): void;
  /** What the startup or readiness probe of a container answered last, in this daemon's time. */
  lastAnswer(containerId: string): ProbeAnswer | undefined;
  /** Ends the probing of all others. */
  keepOnly(containerIds: ReadonlySet<string>): void;
}

export function podProbes({ lifecycle, clock, memory, hooks, poke, note }: ProbesDeps): PodProbes {
  const probers = new Map<string, Prober>();
  const starting = new Set<string>();
  const answers = new Map<string, ProbeAnswer>();
  const afterStart = async (container: ContainerSpec, view: ContainerView, sandbox: SandboxView) => {
    starting.add(view.id);
    const failure = await hooks.postStart(container, view, sandbox);
    // Given up meanwhile: whoever finds the container again begins anew.
    if (!starting.delete(view.id)) return;
    if (failure === undefined) memory.notePostStart(container.name, view.id);
    else memory.noteUnhealthy(container.name, view.id, `postStart hook failed: ${failure}`, undefined);
    poke();
  };
  return {
    watch(container, view, sandbox) {
      if (probers.has(view.id) || starting.has(view.id)) return;
      const { name } = container;
      if (container.lifecycle?.postStart !== undefined && memory.container(name).postStartedId !== view.id) {
        void afterStart(container, view, sandbox);
        return;
      }
      const address = sandbox.addresses[0] ?? "127.0.0.1";
      const target = { container, containerId: view.id, sandboxId: sandbox.id, address };
      const prober = startProber(target, readinessOf(container, view, memory.container(name)), {
        means: lifecycle,
        clock,
        startedMs: clock.nowMs() - Math.max(0, clock.wallMs() - toMs(view.startedAtNs)),
        onReadiness: (readiness) => {
          const before = readinessOf(container, view, memory.container(name));
          memory.noteReadiness(name, view.id, readiness);
          if (readiness.ready !== before.ready) {
            note({ type: readiness.ready ? "ready" : "unready", container: name, reason: "", message: "" });
          }
          poke();
        },
        onAnswer: (answer) => answers.set(view.id, answer),
        onUnhealthy: (message, graceSeconds) => {
          memory.noteUnhealthy(name, view.id, message, graceSeconds);
          poke();
        },
      });
      probers.set(view.id, prober);
    },
    lastAnswer: (containerId) => answers.get(containerId),
    keepOnly(containerIds) {
      for (const id of starting) if (!containerIds.has(id)) starting.delete(id);
      for (const [id, prober] of probers) {
        if (containerIds.has(id)) continue;
        prober.stop();
        probers.delete(id);
        answers.delete(id);
      }
    },
  };
}

/** How far a running container has come, by what its probes have said of it so far. */
export function readinessOf(
  container: ContainerSpec,
  view: ContainerView,
  { readiness, postStartedId }: ContainerMemory,
): Readiness {
  if (container.lifecycle?.postStart !== undefined && postStartedId !== view.id) {
    return { started: false, ready: false };
  }
  if (readiness?.containerId === view.id) return readiness;
  const started = container.startupProbe === undefined;
  return { started, ready: started && container.readinessProbe === undefined };
}

function toMs(ns: string | undefined): number {
  return Number(BigInt(ns ?? "0") / 1_000_000n);
}
