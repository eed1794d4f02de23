// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { PAUSE_TAG } from "../container/records.ts";
import { containersOf, nowNs, type Runtime } from "../container/runtime.ts";
import { stopContainer } from "../container/stop.ts";
import { adoptMonitor } from "../launch/monitor-process.ts";
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { signal, waitGone } from "../linux/process.ts";
import { podDir } from "../paths.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { unmountShm } from "./files.ts";

const PAUSE_TIMEOUT_MS = 5000;

/**
 * Ends a sandbox: its containers, its pause, its network, its mounts, its monitor. Any number of
 * calls, also after one that failed half-way, come to the same; an unknown id is fine.
 */
export async function stopSandbox(runtime: Runtime, id: string): Promise<void> {
  noteSubject(id);
  enterPhase("lock");
  await runtime.locks.run(id, async () => {
    const record = runtime.sandboxes.get(id);
    if (record === undefined) return;
    if (!record.end?.isRequested) {
      // Written down first: the death of the pause that follows is not news, and a daemon that starts goes on here.
      const end = { atNs: nowNs(), reason: "stopped on request", ...record.end, isRequested: true };
      runtime.sandboxes.put(id, { ...record, end });
      if (record.end === undefined) runtime.events.emit("stopped", id, id);
    }
    enterPhase("containers");
    await Promise.all(containersOf(runtime, id).map((container) => stopContainer(runtime, container.id, 0)));
    enterPhase("pause");
    const isEnding = record.pause !== undefined && signal(record.pause, SIGNAL.SIGKILL);
    unmountShm(podDir(runtime.paths, id));
    if (isEnding) await waitGone(record.pause, PAUSE_TIMEOUT_MS, runtime.monitors.get(id)?.reaped(PAUSE_TAG));
    enterPhase("plugins");
    await runtime.plugins.stopPodSandbox(runtime.sandboxes.get(id) ?? record);
    enterPhase("monitor");
    await endMonitor(runtime, record);
    enterPhase("network");
    await releaseNetwork(runtime, id);
  });
}

async function endMonitor(runtime: Runtime, record: SandboxRecord): Promise<void> {
  const { id, monitor: identity } = record;
  // One of a sandbox that failed half-made is not in the daemon's care yet.
  const adopted = async () =>
    identity === undefined ? undefined : adoptMonitor(podDir(runtime.paths, id), identity);
  const monitor = runtime.monitors.get(id) ?? (await adopted());
  if (monitor === undefined) return;
  await monitor.end();
  runtime.monitors.delete(id);
  monitor.disconnect();
}

async function releaseNetwork(runtime: Runtime, id: string): Promise<void> {
  await runtime.network.release(id, join(podDir(runtime.paths, id), "netns"));
  const record = runtime.sandboxes.get(id);
  if (record?.networkAttached) runtime.sandboxes.put(id, { ...record, networkAttached: false });
}
