// SPDX-License-Identifier: Apache-2.0
import { Code, ConnectError } from "@connectrpc/connect";
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import { type Daemon, isAbsent, promptly } from "../client.ts";

/** A daemon that restarts is waited for; it knows of what happened meanwhile. */
const ABSENCE_MS = 30_000;
const RETRY_MS = 200;
const LASTING_MS = 2000;

/** Every event from `beginNs` on (nanoseconds since 1970), across restarts of the daemon. */
export async function* followEvents(
  daemon: Daemon,
  beginNs: bigint,
  signal: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  let sinceNs = beginNs;
  let awaySinceMs: number | undefined;
  // What is remembered first, by a call that ends: a daemon that is not there at all is not waited for.
  for await (const event of daemon.pods.events({ sinceNs, rememberedOnly: true }, promptly())) {
    sinceNs = event.atNs + 1n;
    yield event;
  }
  while (!signal.aborted) {
    const beganMs = performance.now();
    try {
      for await (const event of daemon.pods.events({ sinceNs }, { signal })) {
        sinceNs = event.atNs + 1n;
        yield event;
      }
    } catch (error) {
      if (!isAbsent(error) && !isEnding(error)) throw error;
      const nowMs = performance.now();
      // Nobody says whether the call got through: one that lasted had somebody at its other end.
      if (awaySinceMs === undefined || nowMs - beganMs > LASTING_MS) awaySinceMs = nowMs;
      if (nowMs - awaySinceMs > ABSENCE_MS) throw error;
    }
    await sleep(RETRY_MS, signal).catch(() => {});
  }
}

/** What a daemon says that is shutting down. */
function isEnding(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Unavailable;
}
