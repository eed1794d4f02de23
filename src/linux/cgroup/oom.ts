// SPDX-License-Identifier: Apache-2.0
import { dirname } from "node:path";
import { NotFoundError } from "../../errors.ts";
import type { CgroupHost } from "./host.ts";
import { layoutOf } from "./layout.ts";
import { currentLimit, oomKills, v1LimitHits } from "./memory-stats.ts";
import { CgroupReader, rowOf } from "./reader.ts";

/** What the kernel killed in a cgroup for want of memory. */
export interface OutOfMemory {
  /** Processes, since the cgroup was made. */
  readonly kills: number;
  /** The innermost limit that was met; undefined where none was, so that the machine itself had no more. */
  readonly limit: MetLimit | undefined;
}

export interface MetLimit {
  /** Of the cgroup that has the limit: the one asked for, or one above it. */
  readonly path: string;
  /** As it is now; undefined when it has been taken away since. */
  readonly bytes: number | undefined;
}

/**
 * Undefined when nothing was killed, without the memory controller, and when the cgroup is gone. v2 tells which
 * limit killed; v1 counts only how often each was met, also where reclaiming memory was enough.
 */
export function outOfMemory(host: CgroupHost, path: string): OutOfMemory | undefined {
  try {
    const kills = oomKills(readerOf(host, path));
    return kills === 0 ? undefined : { kills, limit: metLimit(host, path) };
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

function metLimit(host: CgroupHost, path: string): MetLimit | undefined {
  for (let at = path; at !== "/"; at = dirname(at)) {
    const cgroup = readerOf(host, at);
    if (!wasMet(cgroup, at === path)) continue;
    const bytes = currentLimit(cgroup);
    return { path: at, bytes: bytes === -1 ? undefined : bytes };
  }
  return undefined;
}

/** What is below the cgroup asked for is its own; what is below one above may be somebody else's. */
function wasMet(cgroup: CgroupReader, withBelow: boolean): boolean {
  if (cgroup.version === "v1") return (v1LimitHits(cgroup) ?? 0) > 0 || hasBeenFull(cgroup);
  const events = cgroup.read("memory", withBelow ? "memory.events" : "memory.events.local");
  return (rowOf(events, "oom") ?? 0) > 0;
}

// The largest allocation for which the kernel kills is of eight pages.
const SLACK_BYTES = 8 * 4096;

/** Newer kernels, 6.18 for one, do not count how often the limit of memory and swap together was met. */
function hasBeenFull(cgroup: CgroupReader): boolean {
  const limit = cgroup.tryRead("memory", "memory.memsw.limit_in_bytes");
  const most = cgroup.tryRead("memory", "memory.memsw.max_usage_in_bytes");
  return limit !== undefined && Number(most) + SLACK_BYTES >= Number(limit);
}

function readerOf(host: CgroupHost, path: string): CgroupReader {
  return new CgroupReader(layoutOf(host, path).directories);
}
