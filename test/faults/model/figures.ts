// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { memoryOf } from "../../integration/harness/proc.ts";
import type { SweptDaemon } from "../swept-daemon.ts";

/** What a daemon holds at a moment at which it has nothing to do. */
export interface Figures {
  readonly minute: number;
  readonly rssBytes: number;
  /** Open files and pipes. */
  readonly descriptors: number;
  readonly threads: number;
}

const MIB = 1024 * 1024;
/** What the memory may grow by after the warm-up: Bun gives back what is free when it likes. */
export const MEMORY_BOUND_BYTES = 96 * MIB;
/** Some files are opened at their first use and kept. */
export const DESCRIPTOR_BOUND = 8;

export function takeFigures({ daemon, descriptors }: SweptDaemon, minute: number): Figures {
  const pid = daemon.pid();
  return {
    minute,
    rssBytes: memoryOf(pid)["Rss"] ?? 0,
    descriptors: descriptors(),
    threads: readdirSync(`/proc/${pid}/task`).length,
  };
}

export function textOf({ minute, rssBytes, descriptors, threads }: Figures): string {
  const mebibytes = (rssBytes / MIB).toFixed(0);
  return `minute ${minute.toFixed(1)}: ${mebibytes} MiB, ${descriptors} files and pipes, ${threads} threads`;
}

/** What has grown between the first figures after the warm-up and the last ones. */
export function growth(all: readonly Figures[], warmUpMinutes: number): string[] {
  const first = all.find(({ minute }) => minute >= warmUpMinutes);
  const last = all.at(-1);
  if (first === undefined || last === undefined) return [];
  const problems: string[] = [];
  if (last.rssBytes - first.rssBytes > MEMORY_BOUND_BYTES)
    problems.push(`memory has grown: from ${textOf(first)}, to ${textOf(last)}`);
  if (last.descriptors - first.descriptors > DESCRIPTOR_BOUND)
    problems.push(`descriptors have grown: from ${textOf(first)}, to ${textOf(last)}`);
  return problems;
}
