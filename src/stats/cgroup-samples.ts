// SPDX-License-Identifier: Apache-2.0
import { nowNs } from "../container/runtime.ts";
import { type Cgroup, type CgroupDetails, type CgroupStats, openCgroup } from "../linux/cgroup/cgroup.ts";
import type { CgroupHost } from "../linux/cgroup/host.ts";
import type { Pressures } from "../linux/cgroup/pressure.ts";
import type { KeptFiles } from "../linux/cgroup/reader.ts";
import { type Aged, AgedCache } from "./aged-cache.ts";

/** What one cgroup uses; undefined what the machine does not tell. */
export interface CgroupSample {
  readonly cpuAtNs: bigint;
  readonly cpuUsageNs: bigint | undefined;
  /** Billionths of a processor in use since the look before this one; undefined at the first look. */
  readonly nanoCores: bigint | undefined;
  readonly memoryAtNs: bigint;
  readonly memory: CgroupStats["memory"];
  readonly pressures: Pressures;
}

/** A point that the next rate is taken from. */
interface RatePoint {
  readonly atMs: number;
  readonly usageNs: bigint;
}

interface Watched {
  readonly cgroup: Cgroup;
  point?: RatePoint;
  nanoCores?: bigint | undefined;
}

/** Memory, pressure and processes may be as old as this; CPU time is read at each look. */
const MAX_AGE_MS = 250;
const DETAILS_MAX_AGE_MS = 1000;
/** Over a shorter time a rate says more about the looks than about the load. */
const LEAST_WINDOW_MS = 500;
const NO_PRESSURES: Pressures = { cpu: undefined, memory: undefined, io: undefined };

/** Looks at cgroups, each under the id of its container or sandbox, and remembers what rates need. */
export class CgroupSamples {
  readonly #host: CgroupHost;
  readonly #hasPressure: boolean;
  readonly #watched = new Map<string, Watched>();
  readonly #kept: KeptFiles;
  readonly #usage = new AgedCache<Pick<CgroupSample, "memory" | "pressures">>(MAX_AGE_MS);
  readonly #processes = new AgedCache<number>(MAX_AGE_MS);
  readonly #details = new AgedCache<CgroupDetails>(DETAILS_MAX_AGE_MS);

  constructor(host: CgroupHost, hasPressure: boolean, kept: KeptFiles) {
    this.#kept = kept;
    this.#host = host;
    this.#hasPressure = hasPressure;
  }

  /** NotFoundError when the cgroup is gone. */
  sample(id: string, path: string): CgroupSample {
    const { cgroup } = this.#watch(id, path);
    let fresh: CgroupStats | undefined;
    const usage = this.#usage.get(id, () => {
      fresh = cgroup.stats();
      return { memory: fresh.memory, pressures: this.#pressuresOf(cgroup) };
    });
    const cpuUsageNs = fresh === undefined ? cgroup.cpuUsageNs() : fresh.cpuUsageNs;
    return {
      cpuAtNs: BigInt(nowNs()),
      cpuUsageNs,
      nanoCores: this.#rate(id, path, cpuUsageNs),
      memoryAtNs: usage.atNs,
      ...usage.value,
    };
  }

  /** Everything that the cgroup's files tell. NotFoundError when it is gone. */
  details(id: string, path: string): Aged<CgroupDetails> {
    return this.#details.get(id, () => this.#watch(id, path).cgroup.details());
  }

  pressures(id: string, path: string): Pressures {
    return this.#pressuresOf(this.#watch(id, path).cgroup);
  }

  /** Processes in the cgroup and below it, threads not counted; none when it is gone. */
  processes(id: string, path: string): Aged<number> {
    return this.#processes.get(id, () => this.pids(id, path).length);
  }

  pids(id: string, path: string): number[] {
    return this.#watch(id, path).cgroup.pids();
  }

  /** Drops what is kept of a container or sandbox. */
  forget(id: string): void {
    this.#watched.get(id)?.cgroup.close();
    this.#watched.delete(id);
    for (const cache of [this.#usage, this.#processes, this.#details]) cache.forget(id);
  }

  /** Closes the files that are kept open; what rates need stays. */
  close(): void {
    for (const { cgroup } of this.#watched.values()) cgroup.close();
  }

  /** The ids of which something is kept. */
  keys(): IterableIterator<string> {
    return this.#watched.keys();
  }

  #watch(id: string, path: string): Watched {
    const known = this.#watched.get(id);
    if (known?.cgroup.path === path) return known;
    this.forget(id);
    const watched = { cgroup: openCgroup(this.#host, path, this.#kept) };
    this.#watched.set(id, watched);
    return watched;
  }

  #pressuresOf(cgroup: Cgroup): Pressures {
    return this.#hasPressure ? cgroup.pressures() : NO_PRESSURES;
  }

  #rate(id: string, path: string, usageNs: bigint | undefined): bigint | undefined {
    const watched = this.#watch(id, path);
    const { point } = watched;
    const atMs = performance.now();
    if (usageNs === undefined) return undefined;
    if (point === undefined || usageNs < point.usageNs) {
      watched.point = { atMs, usageNs };
      watched.nanoCores = undefined;
      return undefined;
    }
    const windowMs = atMs - point.atMs;
    if (windowMs >= LEAST_WINDOW_MS) {
      watched.nanoCores = BigInt(Math.round((Number(usageNs - point.usageNs) * 1000) / windowMs));
      watched.point = { atMs, usageNs };
    }
    return watched.nanoCores;
  }
}
