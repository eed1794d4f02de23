// SPDX-License-Identifier: Apache-2.0
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import { type Daemon, sentenceOf } from "../client.ts";
import { watchEvents } from "./events.ts";
import { type PageParts, pageParts } from "./page.ts";
import { type DashboardState, takeState } from "./state.ts";

const EVERY_MS = 2_000;
/** After an event the daemon is asked at once, but no sooner than this after the last time. */
const SOONEST_MS = 250;
const KEPT_EVENTS = 50;

/** The page as it is now, for any number of readers; the daemon is asked only while there are some. */
export interface Feed {
  current(): Promise<PageParts>;
  /** Calls `listener` with each new state of the page; the answer ends that. */
  subscribe(listener: (parts: PageParts) => void): () => void;
  close(): void;
}

export function openFeed(daemon: Daemon): Feed {
  const end = new AbortController();
  const listeners = new Set<(parts: PageParts) => void>();
  let events: readonly Event[] = [];
  let lastState: DashboardState | undefined;
  let wake = Promise.withResolvers<void>();

  const take = async (): Promise<PageParts> => {
    try {
      lastState = await takeState(daemon);
      return pageParts({ state: lastState, events, problem: undefined });
    } catch (error) {
      return pageParts({ state: lastState, events, problem: sentenceOf(error) });
    }
  };
  const nudge = () => {
    wake.resolve();
    wake = Promise.withResolvers();
  };
  const run = async () => {
    while (!end.signal.aborted) {
      if (listeners.size === 0) {
        await wake.promise;
        continue;
      }
      const next = wake.promise;
      const parts = await take();
      for (const listener of listeners) listener(parts);
      await sleep(SOONEST_MS);
      await Promise.race([next, sleep(EVERY_MS - SOONEST_MS)]);
    }
  };
  void run();
  void watchEvents(daemon, end.signal, (event) => {
    events = [event, ...events].slice(0, KEPT_EVENTS);
    nudge();
  });
  return {
    current: take,
    subscribe(listener) {
      listeners.add(listener);
      nudge();
      return () => listeners.delete(listener);
    },
    close() {
      end.abort();
      listeners.clear();
      nudge();
    },
  };
}
