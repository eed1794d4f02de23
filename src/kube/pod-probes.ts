// SPDX-License-Identifier: Apache-2.0
import type { ContainerSpec } from "./fields.ts";
import type { Clock, ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { PodMemory } from "./pod-memory.ts";
import type { ContainerMemory } from "./pod-record.ts";
import { type Prober, type Readiness, startProber } from "./prober.ts";

export interface ProbesDeps {
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly memory: Pick<PodMemory, "container" | "noteReadiness" | "noteUnhealthy">;
  /** Something has changed that the next pass should see. */
  readonly poke: () => void;
}

/** The probes of a pod's containers. */
export interface PodProbes {
  /** Probes a running container, unless that goes on already. */
  watch(container: ContainerSpec, view: ContainerView, sandbox: SandboxView): void;
  /** Ends the probing of all others. */
  keepOnly(containerIds: ReadonlySet<string>): void;
}

export function podProbes({ lifecycle, clock, memory, poke }: ProbesDeps): PodProbes {
  const probers = new Map<string, Prober>();
  return {
    watch(container, view, sandbox) {
      if (probers.has(view.id)) return;
      const { name } = container;
      const address = sandbox.addresses[0] ?? "127.0.0.1";
      const target = { container, containerId: view.id, sandboxId: sandbox.id, address };
      const prober = startProber(target, readinessOf(container, view, memory.container(name)), {
        means: lifecycle,
        clock,
        startedMs: clock.nowMs() - Math.max(0, clock.wallMs() - toMs(view.startedAtNs)),
        onReadiness: (readiness) => {
          memory.noteReadiness(name, view.id, readiness);
          poke();
        },
        onUnhealthy: (message, graceSeconds) => {
          memory.noteUnhealthy(name, view.id, message, graceSeconds);
          poke();
        },
      });
      probers.set(view.id, prober);
    },
    keepOnly(containerIds) {
      for (const [id, prober] of probers) {
        if (containerIds.has(id)) continue;
        prober.stop();
        probers.delete(id);
      }
    },
  };
}

/** How far a running container has come, by what its probes have said of it so far. */
export function readinessOf(
  container: ContainerSpec,
  view: ContainerView,
  { readiness }: ContainerMemory,
): Readiness {
  if (readiness?.containerId === view.id) return readiness;
  const started = container.startupProbe === undefined;
  return { started, ready: started && container.readinessProbe === undefined };
}

function toMs(ns: string | undefined): number {
  return Number(BigInt(ns ?? "0") / 1_000_000n);
}
