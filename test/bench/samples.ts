// SPDX-License-Identifier: Apache-2.0

/** What was measured of one thing, over its rounds. */
export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
}

/** Collects durations by name. */
export class Samples {
  readonly #byName = new Map<string, number[]>();

  add(name: string, ms: number): void {
    const samples = this.#byName.get(name) ?? [];
    samples.push(ms);
    this.#byName.set(name, samples);
  }

  /** Runs the work and adds how long it took. */
  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const result = await work();
    this.add(name, performance.now() - startMs);
    return result;
  }

  /** Undefined when nothing of that name was measured. */
  summary(name: string): Summary | undefined {
    const sorted = this.#byName.get(name)?.toSorted((a, b) => a - b);
    if (sorted === undefined) return undefined;
    return { count: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) };
  }
}

/** Nearest rank: the smallest sample that at least that part of all samples does not exceed. */
function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
}
