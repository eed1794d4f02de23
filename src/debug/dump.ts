// SPDX-License-Identifier: Apache-2.0
import { statfsSync, statSync } from "node:fs";
import { loadavg, release, uptime } from "node:os";
import manifest from "../../package.json" with { type: "json" };
import type { Config } from "../config.ts";
import { messageOf } from "../errors.ts";
import { recentLogLines } from "../lib/logger.ts";
import { pendingOperations } from "../lib/operation.ts";
import { TimeSlice } from "../lib/time-slice.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { type CgroupHost, detectCgroups } from "../linux/cgroup/host.ts";
import { procText } from "../linux/proc-file.ts";
import { isAlive, type ProcessIdentity } from "../linux/process.ts";
import type { Paths } from "../paths.ts";
import { exposition, type Family } from "../telemetry/registry.ts";
import { lines, lockHolder, viewProcess } from "./process-view.ts";
import { type Records, readRecords } from "./records.ts";
import { redacted } from "./redact.ts";

/** What only the daemon itself knows; or why somebody else takes the dump. */
export type DumpSource = { readonly families: readonly Family[] } | { readonly reason: string };

/**
 * What one needs to find out why a node misbehaves, as one JSON document: made by the daemon, or by a command where
 * none answers. A section that cannot be read has the reason in its place. The values of environment variables and
 * credentials are hidden.
 */
export async function debugDump(paths: Paths, config: Config, source: DumpSource): Promise<string> {
  const live = "families" in source ? source : undefined;
  const slice = new TimeSlice();
  const sections: Record<string, unknown> = {};
  let records: Records = {};
  const section = async (name: string, read: () => unknown) => {
    try {
      sections[name] = redacted(await read());
    } catch (error) {
      sections[name] = `not readable: ${messageOf(error)}`;
    }
    await slice.next();
  };
  sections["takenAt"] = new Date().toISOString();
  sections["takenBy"] = "reason" in source ? `a command: ${source.reason}` : "the daemon";
  await section("versions", () => ({ podrt: manifest.version, bun: Bun.version, kernel: release() }));
  await section("config", () => config);
  await section("operations", () => (live === undefined ? "known to the daemon only" : operations()));
  await section("log", () =>
    live === undefined ? "known to the daemon only" : recentLogLines().map(parsed),
  );
  await section("metrics", () =>
    live === undefined ? "known to the daemon only" : lines(exposition(live.families)),
  );
  await section("machine", () => machine(paths));
  await section("mounts", () =>
    lines(procText("/proc/self/mountinfo")).filter(
      (line) => line.includes(`${paths.runDir}/`) || line.includes(`${paths.stateDir}/`),
    ),
  );
  await section("daemon", () => {
    const pid = live === undefined ? daemonPid(paths) : process.pid;
    return pid === undefined ? "no daemon runs" : viewProcess(pid);
  });
  await section("records", () => {
    records = readRecords(paths.database);
    return records;
  });
  const sandboxes = Object.entries(records["sandboxes"] ?? {}) as [string, Recorded][];
  await section("monitors", () =>
    byId(sandboxes, slice, ({ monitor }) => {
      if (monitor === undefined) return undefined;
      return isAlive(monitor) ? viewProcess(monitor.pid) : "has ended";
    }),
  );
  const containers = Object.entries(records["containers"] ?? {}) as [string, Recorded][];
  await section("cgroups", () => {
    const host = detectCgroups();
    return byId([...sandboxes, ...containers], slice, ({ cgroupPath }) =>
      cgroupPath === undefined ? undefined : cgroup(host, cgroupPath),
    );
  });
  return `${JSON.stringify(sections, jsonValue, 2)}\n`;
}

/** What is looked at of records of sandboxes and containers. */
interface Recorded {
  readonly monitor?: ProcessIdentity;
  readonly cgroupPath?: string;
}

/** What `view` tells of each record; those of which it tells nothing are left out. */
async function byId(
  records: readonly (readonly [string, Recorded])[],
  slice: TimeSlice,
  view: (record: Recorded) => unknown,
): Promise<Record<string, unknown>> {
  const views: Record<string, unknown> = {};
  for (const [id, record] of records) {
    const seen = view(record);
    if (seen !== undefined) views[id] = seen;
    await slice.next();
  }
  return views;
}

function operations(): object[] {
  const nowMs = performance.timeOrigin + performance.now();
  const age = (sinceMs: number) => Math.round(nowMs - sinceMs);
  return pendingOperations().map(({ name, isCall, startedAtMs, phase, traceId }) => ({
    name,
    askedBy: isCall ? "a client" : "the daemon",
    ageMs: age(startedAtMs),
    ...(phase === undefined ? {} : { phase: phase.name, phaseAgeMs: age(phase.startedAtMs) }),
    ...(traceId === undefined ? {} : { traceId }),
  }));
}

function machine(paths: Paths): object {
  return {
    uptimeSeconds: uptime(),
    loadAverage: loadavg(),
    memory: lines(procText("/proc/meminfo")),
    pressure: ["cpu", "memory", "io"].flatMap((name) => lines(procText(`/proc/pressure/${name}`))),
    cgroups: detectCgroups(),
    space: [paths.stateDir, paths.runDir].map((path) => ({ path, ...statfsSync(path) })),
  };
}

function cgroup(host: CgroupHost, path: string): object {
  try {
    const group = openCgroup(host, path);
    if (!group.exists()) return { path, exists: false };
    return { path, processes: group.pids(), ...group.details(), outOfMemory: group.outOfMemory() };
  } catch (error) {
    return { path, problem: messageOf(error) };
  }
}

/** The daemon of the instance, by the lock that it holds: it may be there and not answer. */
function daemonPid({ lockFile }: Paths): number | undefined {
  const inode = statSync(lockFile, { throwIfNoEntry: false })?.ino;
  return inode === undefined ? undefined : lockHolder(lockFile, inode);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
}

function jsonValue(_name: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
