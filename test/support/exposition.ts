// SPDX-License-Identifier: Apache-2.0

/** One line of a scrape. */
export interface Line {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Scrape {
  readonly types: ReadonlyMap<string, string>;
  readonly lines: readonly Line[];
  /** The one value of a series; undefined where there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const SUFFIXES: Readonly<Record<string, readonly string[]>> = { histogram: ["_bucket", "_sum", "_count"] };

/** Reads Prometheus's text format 0.0.4 as strictly as promtool does; throws where something is amiss. */
export function parseExposition(text: string): Scrape {
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const lines: Line[] = [];
  let family = "";
  for (const row of text.slice(0, -1).split("\n")) {
    const [, keyword, name = "", rest = ""] =
      new RegExp(`^# (HELP|TYPE) (${NAME})(?: (.*))?$`).exec(row) ?? [];
    if (keyword === "HELP") {
      if (helped.has(name) || rest === "") throw new Error(`second or empty help: ${row}`);
      helped.add(name);
    } else if (keyword === "TYPE") {
      if (types.has(name) || !helped.has(name)) throw new Error(`second type, or one without help: ${row}`);
      if (!["counter", "gauge", "histogram"].includes(rest)) throw new Error(`unknown type: ${row}`);
      if ((rest === "counter") !== name.endsWith("_total")) throw new Error(`misnamed: ${row}`);
      types.set(name, rest);
      family = name;
    } else {
      const line = parseLine(row);
      const allowed = (SUFFIXES[types.get(family) ?? ""] ?? [""]).map((suffix) => family + suffix);
      if (!allowed.includes(line.name)) throw new Error(`not of ${family}: ${row}`);
      lines.push(line);
    }
  }
  const keys = lines.map(({ name, labels }) => keyOf(name, labels));
  if (new Set(keys).size !== keys.length) throw new Error("a series is there twice");
  for (const [name, type] of types) if (type === "histogram") checkHistogram(name, lines);
  return {
    types,
    lines,
    value: (name, labels = {}) =>
      lines.find((line) => keyOf(line.name, line.labels) === keyOf(name, labels))?.value,
  };
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  return JSON.stringify([name, Object.entries(labels).toSorted()]);
}

function parseLine(row: string): Line {
  const [, name, , inner = "", value] = new RegExp(`^(${NAME})(\\{(.+)\\})? (\\S+)$`).exec(row) ?? [];
  const number = Number(value);
  if (name === undefined || value === "" || Number.isNaN(number)) throw new Error(`unreadable: ${row}`);
  const labels: Record<string, string> = {};
  let rest = inner;
  while (rest !== "") {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
    if (match === null || match[1]! in labels) throw new Error(`unreadable labels: ${row}`);
    labels[match[1]!] = match[2]!.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    rest = rest.slice(match[0].length);
  }
  return { name, labels, value: number };
}

/** Buckets go up, the last is of everything, and each series has a sum and a count. */
function checkHistogram(name: string, lines: readonly Line[]): void {
  const buckets = Map.groupBy(
    lines.filter((line) => line.name === `${name}_bucket`),
    ({ labels: { le: _, ...labels } }) => keyOf(name, labels),
  );
  for (const [key, series] of buckets) {
    const bounds = series.map(({ labels }) => (labels["le"] === "+Inf" ? Infinity : Number(labels["le"])));
    const isRising = (values: readonly number[], orEqual: boolean) =>
      values.every(
        (value, index) =>
          index === 0 || value > values[index - 1]! || (orEqual && value === values[index - 1]),
      );
    const count = lines.find((line) => line.name === `${name}_count` && keyOf(name, line.labels) === key);
    const sum = lines.find((line) => line.name === `${name}_sum` && keyOf(name, line.labels) === key);
    const isWhole = bounds.at(-1) === Infinity && count?.value === series.at(-1)!.value && sum !== undefined;
    if (
      !isWhole ||
      !isRising(bounds, false) ||
      !isRising(
        series.map(({ value }) => value),
        true,
      )
    ) {
      throw new Error(`histogram ${key} does not add up`);
    }
  }
}
