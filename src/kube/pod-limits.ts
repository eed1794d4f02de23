// SPDX-License-Identifier: Apache-2.0
import { isOver } from "./container-order.ts";
import type { Clock } from "./lifecycle.ts";
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
  readonly fail: (reason: string, message: string) => void;
  readonly wakeBy: (ms: number) => void;
}

/** How often volumes that have a limit are looked through, as a kubelet does. */
const VOLUMES_MS = 10_000;

export function podLimits({ pod, memory, clock, home, fail, wakeBy }: LimitsDeps): PodLimits {
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
    const message = await exceededLimit(pod, home);
    if (message !== undefined) fail("Evicted", message);
  }

  return {
    async note() {
      noteDeadline();
      await noteVolumes();
    },
  };
}
