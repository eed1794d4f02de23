// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import manifest from "../../package.json" with { type: "json" };
import { type Family, newHistogram, newReading } from "./registry.ts";

/** The daemon's own process, by the names that Prometheus's clients give it. */
export const processFamilies: readonly Family[] = [
  newReading("podrt_build_info", "Versions of podrt and of what it is compiled with.", "gauge", () => [
    { labels: { version: manifest.version, bun: Bun.version }, value: 1 },
  ]),
  newReading("process_cpu_seconds_total", "CPU time of the daemon in seconds.", "counter", () => {
    const { user, system } = process.cpuUsage();
    return [{ value: (user + system) / 1e6 }];
  }),
  newReading("process_resident_memory_bytes", "Memory of the daemon that is in RAM.", "gauge", () => [
    { value: process.memoryUsage.rss() },
  ]),
  newReading("process_heap_bytes", "JavaScript objects of the daemon.", "gauge", () => [
    { value: process.memoryUsage().heapUsed },
  ]),
  newReading("process_open_fds", "Descriptors that the daemon has open.", "gauge", () => [
    { value: readdirSync("/proc/self/fd").length },
  ]),
  newReading("process_max_fds", "Descriptors that it may have open.", "gauge", () => [
    { value: Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 0) },
  ]),
  newReading("process_start_time_seconds", "When the daemon began, in seconds since 1970.", "gauge", () => [
    { value: performance.timeOrigin / 1000 },
  ]),
];

const SAMPLE_INTERVAL_MS = 100;

/** How late the event loop comes to a timer: measured ten times a second until it is stopped. */
export function measureEventLoop(): { readonly family: Family; stop(): void } {
  const delay = newHistogram(
    "podrt_event_loop_delay_seconds",
    "How much later than due the daemon's one thread came to a timer.",
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
  );
  let dueMs = performance.now() + SAMPLE_INTERVAL_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    delay.observe(Math.max(0, nowMs - dueMs) / 1000);
    dueMs = nowMs + SAMPLE_INTERVAL_MS;
  }, SAMPLE_INTERVAL_MS);
  return { family: delay, stop: () => clearInterval(timer) };
}
