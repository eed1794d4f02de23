// SPDX-License-Identifier: Apache-2.0

/** What was measured of one thing, over its rounds. */
export interface Summary {
  readonly count: number;
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
}

/** Collects values by row and by whose they are. */
export class Samples {
  readonly #byRow = new Map<string, Map<string, number[]>>();

  add(row: string, who: string, value: number): void {
    const columns = this.#byRow.get(row) ?? new Map<string, number[]>();
    this.#byRow.set(row, columns);
    const samples = columns.get(who) ?? [];
    columns.set(who, samples);
    samples.push(value);
  }

  /** Runs the work and adds how many milliseconds it took. */
  async time<T>(row: string, who: string, work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const result = await work();
    this.add(row, who, performance.now() - startMs);
    return result;
  }

  /** By whose they are; empty when nothing of that row was measured. */
  summaries(row: string): Readonly<Record<string, Summary>> {
    const columns = [...(this.#byRow.get(row) ?? [])];
    return Object.fromEntries(columns.map(([who, values]) => [who, summarize(values)]));
  }
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const [p10, p50, p90] = [0.1, 0.5, 0.9].map((part) => quantile(sorted, part));
  return { count: sorted.length, p10: p10!, p50: p50!, p90: p90! };
}

/** Nearest rank: the smallest sample that at least that part of all samples does not exceed. */
function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]!;
}
