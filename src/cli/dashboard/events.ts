// SPDX-License-Identifier: Apache-2.0
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import type { Daemon } from "../client.ts";
import { followEvents } from "../events/follow.ts";

const AGAIN_AFTER_MS = 2_000;

/** Tells of every event that is remembered, and of each that happens until `signal` aborts; a daemon that is away is asked again. */
export async function watchEvents(
  daemon: Daemon,
  signal: AbortSignal,
  onEvent: (event: Event) => void,
): Promise<void> {
  let sinceNs = 0n;
  while (!signal.aborted) {
    try {
      for await (const event of followEvents(daemon, sinceNs, signal)) {
        sinceNs = event.atNs + 1n;
        onEvent(event);
      }
    } catch {
      // That it does not answer is told by those who ask for the state.
    }
    await sleep(AGAIN_AFTER_MS, signal).catch(() => {});
  }
}
