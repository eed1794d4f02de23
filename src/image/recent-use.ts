// SPDX-License-Identifier: Apache-2.0
import type { ImageRecord } from "./image-records.ts";

/**
 * How long nobody has asked for an image. A kubelet pulls an image, or finds that it is there, and makes the container a
 * moment later: between the two nothing but this says that the image is needed.
 */
export interface RecentUse {
  note(id: string): void;
  /** Milliseconds since the image was asked for or recorded, as far as that is known. */
  idleMs(image: Pick<ImageRecord, "id" | "createdAtNs">): number;
}

/** More than a machine has; past it the oldest is forgotten. */
const MAX_IMAGES = 10_000;

/** What was noted is of this daemon's time; of an earlier one only when an image was recorded first. */
export function newRecentUse(nowMs = () => performance.now(), wallMs = () => Date.now()): RecentUse {
  const notedMs = new Map<string, number>();
  return {
    note(id) {
      notedMs.delete(id);
      notedMs.set(id, nowMs());
      const [oldest] = notedMs.keys();
      if (notedMs.size > MAX_IMAGES && oldest !== undefined) notedMs.delete(oldest);
    },
    idleMs({ id, createdAtNs }) {
      const ageMs = wallMs() - Number(BigInt(createdAtNs) / 1_000_000n);
      const noted = notedMs.get(id);
      return Math.min(
        // One that is of the future was recorded before the clock was put back.
        ageMs < 0 ? Number.POSITIVE_INFINITY : ageMs,
        noted === undefined ? Number.POSITIVE_INFINITY : nowMs() - noted,
      );
    },
  };
}
