// SPDX-License-Identifier: Apache-2.0
import { edenGC } from "bun:jsc";
import type { Events } from "../container/events.ts";

/** Starts of pods and containers that leave some 10 MB of garbage. */
const STARTS = 16;

/**
 * Collects young garbage while pods are made, more often than the engine does by itself: it lets its heap grow to three
 * times what is alive. The heap is never compacted, so what lives on of a start keeps the blocks that it lies in, and the
 * more garbage lies between the more blocks that is.
 */
export function collectBetweenStarts(events: Pick<Events, "subscribe">): void {
  let starts = 0;
  events.subscribe(({ type }) => {
    if (type !== "started" || ++starts < STARTS) return;
    starts = 0;
    // Behind the answer to whoever asked for the start.
    setImmediate(edenGC);
  });
}
