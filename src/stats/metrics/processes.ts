// SPDX-License-Identifier: Apache-2.0
import { familiesOf } from "./family.ts";
import { type ContainerReadings, detail } from "./readings.ts";

const { gauge } = familiesOf<ContainerReadings>();
const pids = familiesOf<ContainerReadings>("pids");
const pressure = familiesOf<ContainerReadings>("pressure");

export const processFamilies = [
  gauge("processes", "Processes in the container", ({ processes }) => [processes]),
  pids.gauge(
    "threads",
    "Threads in the container, those of every process",
    detail(({ pids }) => pids?.current),
  ),
  pids.gauge(
    "threads_max",
    "The most threads that the container may have, 0 for no limit",
    detail(({ pids }) => pids && (pids.limit ?? 0)),
  ),
  gauge("file_descriptors", "Open file descriptors of the container", ({ openFiles: { value, atNs } }) => [
    { value: value.descriptors, atNs },
  ]),
  gauge("sockets", "Open sockets of the container", ({ openFiles: { value, atNs } }) => [
    { value: value.sockets, atNs },
  ]),
  gauge(
    "ulimits_soft",
    "Soft limits of the container's first process that are not unlimited",
    ({ softLimits }) => softLimits.map(({ name, value }) => ({ value, labels: [name] })),
    ["ulimit"],
  ),
  gauge(
    "start_time_seconds",
    "When the container was started, in seconds since 1970",
    ({ startedAtSeconds }) => startedAtSeconds,
  ),
  gauge(
    "last_seen",
    "When the container was last seen running, in seconds since 1970",
    ({ seenAtSeconds }) => seenAtSeconds,
  ),
  ...(["cpu", "memory", "io"] as const).flatMap((resource) => [
    pressure.counter(
      `pressure_${resource}_waiting_seconds_total`,
      `Time in which some tasks of the container waited for ${resource}, in seconds`,
      ({ pressures }) => wholeSeconds(pressures[resource]?.some.totalUs),
    ),
    pressure.counter(
      `pressure_${resource}_stalled_seconds_total`,
      `Time in which all tasks of the container waited for ${resource}, in seconds`,
      ({ pressures }) => wholeSeconds(pressures[resource]?.full.totalUs),
    ),
  ]),
];

function wholeSeconds(us: bigint | undefined): bigint | undefined {
  return us === undefined ? undefined : us / 1_000_000n;
}
