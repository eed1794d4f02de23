// SPDX-License-Identifier: Apache-2.0
import { isOver } from "./container-order.ts";
import type { Clock, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { Pod, PodHome } from "./pod.ts";
import type { PodMemory } from "./pod-memory.ts";
import { exceededLimit, hasLimits } from "./volume-limits.ts";

/** Past which a pod as a whole has failed. */
export interface PodLimits {
  /** Looks whether it is past one, and says when to look again. */
  note(): Promise<void>;
}

export interface LimitsDeps {
  readonly pod: Pod;
  readonly memory: Pick<PodMemory, "record" | "container">;
  readonly clock: Clock;
  readonly home: PodHome;
  readonly lifecycle: Pick<Lifecycle, "containersOf" | "writableDirectory">;
  /** The pod's, the newest first. */
  readonly sandboxes: () => readonly SandboxView[];
  readonly fail: (reason: string, message: string) => void;
  readonly wakeBy: (ms: number) => void;
}

/** How often volumes that have a limit are looked through, as a kubelet does. */
const VOLUMES_MS = 10_000;

export function podLimits(deps: LimitsDeps): PodLimits {
  const { pod, memory, clock, home, lifecycle, sandboxes, fail, wakeBy } = deps;
  let volumesDueMs = 0;
  const hasEnded = () => memory.record().failure !== undefined || isOver(pod.spec, memory.container);

  /** By the wall clock, since the pod was asked for. */
  function noteDeadline(): void {
    const { activeDeadlineSeconds: seconds } = pod.spec;
    if (seconds === undefined || hasEnded() || pod.job?.suspend) return;
    const ageMs = clock.wallMs() - Number(BigInt(memory.record().createdAtNs) / 1_000_000n);
    if (ageMs < seconds * 1000) {
      wakeBy(clock.nowMs() + seconds * 1000 - ageMs);
      return;
    }
    fail("DeadlineExceeded", `the pod was active for longer than its activeDeadlineSeconds, ${seconds}`);
  }

  /** At most once in a while: a volume may have many files. */
  async function noteVolumes(): Promise<void> {
    if (!hasLimits(pod) || hasEnded()) return;
    if (clock.nowMs() < volumesDueMs) return wakeBy(volumesDueMs);
    volumesDueMs = clock.nowMs() + VOLUMES_MS;
    wakeBy(volumesDueMs);
    const { id = "" } = sandboxes()[0] ?? {};
    const message = await exceededLimit(pod, {
      home,
      containers: lifecycle.containersOf(id),
      writableDirectory: (containerId) => lifecycle.writableDirectory(containerId),
    });
    if (message !== undefined) fail("Evicted", message);
  }

  return {
    async note() {
      noteDeadline();
      await noteVolumes();
    },
  };
}
