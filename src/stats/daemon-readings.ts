// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { pendingOperations } from "../lib/operation.ts";
import { isReady } from "../state/sandboxes.ts";
import { type Family, newReading, type Sample } from "../telemetry/registry.ts";

/** What the daemon has in its care, read when Prometheus asks. `streams` counts the connections of exec, attach and port-forward. */
export function daemonReadings(runtime: Runtime, streams: () => number): readonly Family[] {
  const gauge = (name: string, help: string, samples: () => Iterable<Sample>) =>
    newReading(name, help, "gauge", samples);
  return [
    gauge("podrt_sandboxes", "Sandboxes by state.", () =>
      byState(["ready", "notready"], runtime.sandboxes.list(), (record) =>
        isReady(record) ? "ready" : "notready",
      ),
    ),
    gauge("podrt_containers", "Containers by state.", () =>
      byState(["created", "running", "exited"], runtime.containers.list(), containerState),
    ),
    gauge("podrt_images", "Images in the store.", () => [{ value: runtime.images.list().length }]),
    gauge("podrt_monitors", "Monitors of pods that the daemon is connected to.", () => [
      { value: runtime.monitors.size },
    ]),
    gauge("podrt_execs", "Commands executed in containers that have not ended.", () => [
      { value: runtime.execs.size },
    ]),
    gauge("podrt_streaming_connections", "Connections of exec, attach and port-forward.", () => [
      { value: streams() },
    ]),
    gauge("podrt_operations_pending", "Calls and other operations under way.", () => [
      { value: pendingOperations().length },
    ]),
  ];
}

/** One sample a state, also of those that nothing is in. */
function byState<T, S extends string>(
  states: readonly S[],
  records: readonly T[],
  stateOf: (record: T) => S,
): Sample[] {
  const counts = new Map<S, number>(states.map((state) => [state, 0]));
  for (const record of records) {
    const state = stateOf(record);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return [...counts].map(([state, value]) => ({ labels: { state }, value }));
}
