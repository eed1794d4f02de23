// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type { CgroupReader } from "./reader.ts";

/** How long tasks waited for a resource: the shares in percent of the last 10, 60 and 300 seconds. */
export interface PressureLine {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly totalUs: bigint;
}

/** `some`: at least one task waited; `full`: all that were not idle did (Documentation/accounting/psi.rst). */
export interface Pressure {
  readonly some: PressureLine;
  readonly full: PressureLine;
}

export interface Pressures {
  readonly cpu: Pressure | undefined;
  readonly memory: Pressure | undefined;
  readonly io: Pressure | undefined;
}

const NOTHING: PressureLine = { avg10: 0, avg60: 0, avg300: 0, totalUs: 0n };

/** Whether the kernel accounts for pressure: it can be compiled without, or told not to (psi=0). */
export function hasPressure(): boolean {
  try {
    return readFileSync("/proc/pressure/cpu", "utf8") !== "";
  } catch {
    return false;
  }
}

/** Pressure in the cgroup2 hierarchy, which needs no controller for it. */
export function pressures(cgroup: CgroupReader): Pressures {
  const of = (resource: string) => {
    const text = cgroup.tryRead("cgroup", `${resource}.pressure`);
    return text === undefined ? undefined : parsePressure(text);
  };
  return { cpu: of("cpu"), memory: of("memory"), io: of("io") };
}

const LINE = /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)/gm;

/** The text of a pressure file. */
export function parsePressure(text: string): Pressure {
  const found = { some: NOTHING, full: NOTHING };
  // Before Linux 5.13 the cpu file has no line for `full`.
  for (const [, name, avg10, avg60, avg300, total] of text.matchAll(LINE)) {
    found[name as keyof typeof found] = {
      avg10: Number(avg10),
      avg60: Number(avg60),
      avg300: Number(avg300),
      totalUs: BigInt(total as string),
    };
  }
  return found;
}
