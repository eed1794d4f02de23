// SPDX-License-Identifier: Apache-2.0
import { observeOperations } from "../lib/operation.ts";
import { DURATION_BUCKETS, type Family, newCounter, newHistogram } from "./registry.ts";

/*
 * What the daemon counts of itself. Labels have few values: calls, codes, phases and states, never pods, containers,
 * images or hosts. What a container uses is asked of the CRI.
 */

export const rpcHandled = newCounter(
  "podrt_rpc_handled_total",
  "Calls that were answered, by name and code.",
  true,
);
export const rpcDuration = newHistogram(
  "podrt_rpc_duration_seconds",
  "Time from a call's request to its answer; streams are not in it.",
  DURATION_BUCKETS,
);
const phaseDuration = newHistogram(
  "podrt_operation_phase_duration_seconds",
  "Where the time of calls goes, by their phases.",
  DURATION_BUCKETS,
);
export const pulls = newCounter("podrt_image_pulls_total", "Pulls of images that ended, by outcome.", true);
export const pullDuration = newHistogram(
  "podrt_image_pull_duration_seconds",
  "Time that pulls of images took, also failed ones.",
  [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600],
);
export const pullBytes = newCounter(
  "podrt_image_pull_bytes_total",
  "Bytes of blobs that registries have sent.",
);
export const oomKills = newCounter(
  "podrt_containers_oom_total",
  "Containers that have ended and of which the kernel had killed processes for want of memory.",
);
export const events = newCounter(
  "podrt_events_total",
  "Lifecycle events of sandboxes and containers, by type.",
  true,
);
export const eventsDropped = newCounter(
  "podrt_events_dropped_total",
  "Events that a subscriber did not read in time and lost.",
);
export const logRecords = newCounter("podrt_log_records_total", "Records written to the logs of containers.");
export const logSplits = newCounter(
  "podrt_log_splits_total",
  "Records among them that are not the end of a line, for its length.",
);
export const logBytes = newCounter(
  "podrt_log_input_bytes_total",
  "Bytes of containers' output in these records.",
);
export const logWriteFailures = newCounter(
  "podrt_log_write_failures_total",
  "Attempts to write to the log of a container that failed; its output waits.",
);

export const daemonFamilies: readonly Family[] = [
  rpcHandled,
  rpcDuration,
  phaseDuration,
  pulls,
  pullDuration,
  pullBytes,
  oomKills,
  events,
  eventsDropped,
  logRecords,
  logSplits,
  logBytes,
  logWriteFailures,
];

observeOperations({
  phaseEnded({ name }, phase, startedAtMs, endedAtMs) {
    phaseDuration.observe((endedAtMs - startedAtMs) / 1000, { operation: name, phase });
  },
});
