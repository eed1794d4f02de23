// SPDX-License-Identifier: Apache-2.0
import type { Clock } from "./lifecycle.ts";
import { type BackOff, failureDelayMs } from "./restart.ts";

/** What keeps a pod or one of its containers from running, and until when nothing is tried. */
export interface Trouble {
  readonly reason: string;
  readonly message: string;
  readonly failures: number;
  readonly notBeforeMs: number;
}

/** The name under which the pod itself is in trouble, as against one of its containers. */
export const POD = "";

/** Failures by what they befell, each with a wait that grows while it goes on. */
export interface Troubles {
  all(): ReadonlyMap<string, Trouble>;
  get(name: string): Trouble | undefined;
  /** Notes one more failure; nothing is tried again until its wait is over. */
  add(name: string, reason: string, message: string, waits: BackOff): Trouble;
  /** Until when nothing is tried; 0 when it may be at once. */
  waitsUntilMs(name: string): number;
  clear(name: string): void;
  clearAll(): void;
}

export function newTroubles(clock: Clock): Troubles {
  const troubles = new Map<string, Trouble>();
  return {
    all: () => troubles,
    get: (name) => troubles.get(name),
    add(name, reason, message, waits) {
      const failures = (troubles.get(name)?.failures ?? 0) + 1;
      const notBeforeMs = clock.nowMs() + failureDelayMs(failures, waits);
      const trouble = { reason, message, failures, notBeforeMs };
      troubles.set(name, trouble);
      return trouble;
    },
    waitsUntilMs(name) {
      const untilMs = troubles.get(name)?.notBeforeMs ?? 0;
      return untilMs > clock.nowMs() ? untilMs : 0;
    },
    clear: (name) => void troubles.delete(name),
    clearAll: () => troubles.clear(),
  };
}
