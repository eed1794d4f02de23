// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import type { Daemon } from "../../integration/harness/daemon.ts";

/** What a subscriber hears who comes back whenever the daemon does. */
export interface EventLedger {
  /** What happened more than once, of things that happen once. */
  problems(): string[];
  close(): void;
}

export function watchEvents({ api }: Daemon): EventLedger {
  const leaving = new AbortController();
  const counts = new Map<string, number>();
  const read = async () => {
    for await (const { containerId, containerEventType } of api.getContainerEvents(
      {},
      { signal: leaving.signal, timeoutMs: 0 },
    )) {
      const what = `event ${containerEventType} (ContainerEventType) of ${containerId}`;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
  };
  void (async () => {
    while (!leaving.signal.aborted) {
      await read().catch(() => {});
      await sleep(50);
    }
  })();
  return {
    problems: () =>
      [...counts].filter(([, count]) => count > 1).map(([what, count]) => `${what}: ${count} times`),
    close: () => leaving.abort(),
  };
}
