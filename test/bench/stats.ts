// SPDX-License-Identifier: Apache-2.0

/**
 * Measures what it costs to ask for statistics and metrics: pods of one container each, in control groups of this
 * machine that nothing runs in, asked in this process without a socket. Prints the time of a whole list with its
 * encoding, and the longest time for which nothing else had a turn.
 *
 * usage: bun test/bench/stats.ts [PODS]   (200)
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  ContainerStatsSchema,
  PodSandboxMetricsSchema,
  PodSandboxStatsSchema,
} from "../../src/gen/runtime/v1/api_pb.ts";
import { openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../src/linux/cgroup/host.ts";
import { openStats } from "../../src/stats/stats.ts";
import { statsRuntime } from "../fixtures/stats-runtime.ts";
import { describeMachine } from "./machine.ts";
import { Samples } from "./samples.ts";

const rounds = 20;
/** What is kept of one round is too old for the next. */
const pauseMs = 1100;

if (process.getuid?.() !== 0) {
  console.error("bench of statistics: needs root");
  process.exit(1);
}
const pods = Number(process.argv[2] ?? 200);
const host = detectCgroups();
const top = openCgroup(host, `/podrt-bench-${process.pid}`);
const directory = mkdtempSync(`${tmpdir()}/podrt-bench-`);
try {
  await main();
} finally {
  await top.remove();
  rmSync(directory, { recursive: true });
}

async function main(): Promise<void> {
  const fixture = statsRuntime(host, directory);
  for (let pod = 0; pod < pods; pod++) {
    const start = pod.toString(16).padStart(4, "0");
    const sandbox = fixture.addSandbox(`a${start}`, `${top.path}/a${start}`);
    const container = fixture.addContainer(`c${start}`, sandbox);
    for (const { cgroupPath } of [sandbox, container]) openCgroup(host, cgroupPath).create();
  }
  const stats = openStats(fixture.runtime);
  const records = {
    sandboxes: fixture.runtime.sandboxes.list(),
    containers: fixture.runtime.containers.list(),
  };
  const { signal } = new AbortController();
  const lists = {
    ListContainerStats: () => encoded(ContainerStatsSchema, stats.containers(records.containers, signal)),
    ListPodSandboxStats: () => encoded(PodSandboxStatsSchema, stats.sandboxes(records.sandboxes, signal)),
    ListPodSandboxMetrics: () => encoded(PodSandboxMetricsSchema, stats.metrics(records.sandboxes, signal)),
  };
  const samples = new Samples();
  const bytes = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, list] of Object.entries(lists)) {
      const turns = watchTurns();
      bytes.set(name, await samples.time(name, "whole", list));
      samples.add(name, "longest slice", turns.longestMs());
    }
    await Bun.sleep(pauseMs);
  }
  console.log(`${pods} pods of one container, ${describeMachine()}`);
  for (const name of Object.keys(lists)) {
    const { whole, "longest slice": slice } = samples.summaries(name);
    if (whole === undefined || slice === undefined) continue;
    const ms = (value: number) => `${value.toFixed(1)} ms`;
    console.log(
      `${name}: p50 ${ms(whole.p50)}, p90 ${ms(whole.p90)}, ${((whole.p50 * 1000) / pods).toFixed(0)} us a pod, ` +
        `longest slice p50 ${ms(slice.p50)}, ${((bytes.get(name) ?? 0) / 1024).toFixed(0)} KiB`,
    );
  }
}

/** Takes all that a list gives and encodes it, as the server does; answers the bytes. */
async function encoded<D extends DescMessage>(
  type: D,
  items: AsyncIterable<MessageShape<D>>,
): Promise<number> {
  let bytes = 0;
  for await (const item of items) bytes += toBinary(type, item).length;
  return bytes;
}

/** How long others have to wait for a turn. */
function watchTurns(): { longestMs(): number } {
  let lastMs = performance.now();
  let longestMs = 0;
  const look = () => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
    timer = setImmediate(look);
  };
  let timer = setImmediate(look);
  return {
    longestMs() {
      clearImmediate(timer);
      return Math.max(longestMs, performance.now() - lastMs);
    },
  };
}
