// SPDX-License-Identifier: Apache-2.0

/*
 * Counters and histograms, and the text in which Prometheus reads them (exposition format 0.0.4). The field's package
 * for this takes three to six megabytes of a daemon's memory, this some kilobytes.
 */

export type Labels = Readonly<Record<string, string>>;

/** One line: the family's name, a suffix such as `_bucket`, labels, a value. */
export interface Sample {
  readonly suffix?: string;
  readonly labels?: Labels;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  samples(): Iterable<Sample>;
}

/** Only goes up. */
export interface Counter extends Family {
  add(amount: number, labels?: Labels): void;
}

/** Counts observations by size. */
export interface Histogram extends Family {
  observe(value: number, labels?: Labels): void;
}

/** A family with more combinations of labels than this counts what is beyond as `other`. */
const MAX_SERIES = 1000;

/** Upper bounds of the buckets of durations in seconds: a millisecond to a minute. */
export const DURATION_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

const NO_LABELS: Labels = {};

/** A counter; one without labels is there from the beginning, as 0. */
export function newCounter(name: string, help: string, hasLabels = false): Counter {
  const series = newSeries(() => ({ total: 0 }));
  if (!hasLabels) series.at(NO_LABELS);
  return {
    name,
    help,
    type: "counter",
    add(amount, labels = NO_LABELS) {
      series.at(labels).total += amount;
    },
    samples: () => series.map((labels, { total }) => [{ labels, value: total }]),
  };
}

/** A histogram with buckets up to `bounds`, which go up, and one for what is larger. */
export function newHistogram(name: string, help: string, bounds: readonly number[]): Histogram {
  const series = newSeries(() => ({ counts: bounds.map(() => 0), sum: 0, count: 0 }));
  return {
    name,
    help,
    type: "histogram",
    observe(value, labels = NO_LABELS) {
      const observed = series.at(labels);
      observed.sum += value;
      observed.count++;
      const bucket = bounds.findIndex((bound) => value <= bound);
      if (bucket >= 0) observed.counts[bucket] = (observed.counts[bucket] ?? 0) + 1;
    },
    samples: () =>
      series.map((labels, { counts, sum, count }) => {
        let below = 0;
        const buckets = counts.map((inBucket, bucket) => {
          below += inBucket;
          return { suffix: "_bucket", labels: { ...labels, le: String(bounds[bucket]) }, value: below };
        });
        return [
          ...buckets,
          { suffix: "_bucket", labels: { ...labels, le: "+Inf" }, value: count },
          { suffix: "_sum", labels, value: sum },
          { suffix: "_count", labels, value: count },
        ];
      }),
  };
}

/** A family that is read when somebody asks. */
export function newReading(
  name: string,
  help: string,
  type: "gauge" | "counter",
  samples: () => Iterable<Sample>,
): Family {
  return { name, help, type, samples };
}

/** The families as Prometheus reads them. */
export function exposition(families: readonly Family[]): string {
  const lines: string[] = [];
  for (const family of families) {
    lines.push(`# HELP ${family.name} ${family.help}`, `# TYPE ${family.name} ${family.type}`);
    for (const { suffix = "", labels = NO_LABELS, value } of family.samples()) {
      lines.push(`${family.name}${suffix}${labelText(labels)} ${value}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** A value for each combination of labels, made when it is first asked for. */
function newSeries<T>(make: () => T) {
  const byKey = new Map<string, { readonly labels: Labels; readonly value: T }>();
  const get = (labels: Labels, mayAdd: boolean): T | undefined => {
    const key = labels === NO_LABELS ? "" : JSON.stringify(labels);
    const known = byKey.get(key);
    if (known !== undefined || !mayAdd) return known?.value;
    const value = make();
    byKey.set(key, { labels, value });
    return value;
  };
  return {
    at(labels: Labels): T {
      const value = get(labels, byKey.size < MAX_SERIES);
      if (value !== undefined) return value;
      const other = Object.fromEntries(Object.keys(labels).map((label) => [label, "other"]));
      return get(other, true) as T;
    },
    map: (samplesOf: (labels: Labels, value: T) => Sample[]): Sample[] =>
      [...byKey.values()].flatMap(({ labels, value }) => samplesOf(labels, value)),
  };
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
