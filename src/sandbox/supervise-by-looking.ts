// SPDX-License-Identifier: Apache-2.0
import { containersOf, nowNs, type Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import type { Monitor } from "../launch/monitor.ts";
import { isAlive } from "../linux/process.ts";
import { endOrphan, monitorGone, pauseGone, recorded } from "./supervise.ts";

const INTERVAL_MS = 500;

/**
 * Takes a sandbox into the daemon's care whose monitor it cannot speak with (launch/foreign-monitor.ts): that
 * something has ended is seen in /proc, a moment later, and its exit code stays unknown.
 */
export function superviseByLooking(runtime: Runtime, sandboxId: string, monitor: Monitor): void {
  runtime.monitors.set(sandboxId, monitor);
  const isOver = () => runtime.monitors.get(sandboxId) !== monitor;
  const end = () => recorded(runtime, sandboxId, () => pauseGone(runtime, sandboxId, "pause ended", nowNs()));
  const look = async () => {
    if (!monitor.isAlive()) return monitorGone(runtime, sandboxId);
    for (const container of containersOf(runtime, sandboxId)) {
      if (containerState(container) !== "running") continue;
      if (container.process === undefined || !isAlive(container.process))
        endOrphan(runtime, container, `it ended, and its exit code is not known: ${monitor.refusal}`);
    }
    const pause = runtime.sandboxes.get(sandboxId)?.pause;
    // It waits for the containers, whose end is seen by the next look.
    if (pause !== undefined && !isAlive(pause)) void end();
  };
  const lookLater = () => {
    setTimeout(async () => {
      if (isOver()) return;
      await recorded(runtime, sandboxId, look);
      lookLater();
    }, INTERVAL_MS).unref();
  };
  lookLater();
}
