// SPDX-License-Identifier: Apache-2.0
import type { Row, Unit } from "./row.ts";
import type { Samples, Summary } from "./samples.ts";

/** A row with what was measured of it. */
export interface MeasuredRow extends Row {
  readonly group: string;
  /** By whose they are. */
  readonly values: Readonly<Record<string, Summary>>;
  /** The peer that comes nearest to podrt, and how many times better podrt is; below 1 it is worse. */
  readonly best?: { readonly who: string; readonly ratio: number };
  readonly verdict: Verdict;
}

export interface Verdict {
  readonly isMet: boolean | undefined;
  /** As in `15 times`, `at most 64 KiB`; empty where nothing was promised. */
  readonly target: string;
  /** By how much it is missed. */
  readonly missing: string;
}

export interface Report {
  readonly machine: string;
  /** When it was measured. */
  readonly date: string;
  /** Of rows whose median is of many. */
  readonly rounds: number;
  /** Whether there were fewer pods, and shorter streams, than the titles say. */
  readonly isQuick: boolean;
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly MeasuredRow[];
}

/** They start containers and nothing else: there is no pod, no image and nobody to ask; they show the limit. */
const alone = ["runc", "crun"];
/** Differences below this are those of one run to the next. */
const noise = 1.1;

export function measuredRow(group: string, row: Row, samples: Samples): MeasuredRow | undefined {
  const values = samples.summaries(row.title);
  const own = values["podrt"];
  if (own === undefined) return undefined;
  const others = Object.entries(values).filter(([who]) => who !== "podrt" && !alone.includes(who));
  const ratios = others.map(([who, { p50 }]) => ({ who, ratio: ratioOf(row, own.p50, p50) }));
  const best = ratios.toSorted((a, b) => a.ratio - b.ratio)[0];
  const verdict = judge(row, own.p50, best?.ratio);
  return { ...row, group, values, verdict, ...(best === undefined ? {} : { best }) };
}

/** How many times better podrt's figure is; a figure of zero counts as the smallest that is shown. */
export function ratioOf({ better }: Row, own: number, theirs: number): number {
  const [over, under] = better === "less" ? [theirs, own] : [own, theirs];
  return Math.max(over, 0.001) / Math.max(under, 0.001);
}

function judge({ target, unit, better }: Row, own: number, ratio: number | undefined): Verdict {
  if (target === undefined) return { isMet: undefined, target: "", missing: "" };
  if (typeof target === "object" && "atMost" in target) {
    const isMet = own <= target.atMost;
    const over = `${shown(own - target.atMost, unit)} more`;
    return { isMet, target: `at most ${shown(target.atMost, unit)}`, missing: isMet ? "" : over };
  }
  const wanted = target === "asGood" ? 1 : target.times;
  const text = target === "asGood" ? "as good" : `${wanted} times ${better === "less" ? "less" : "more"}`;
  if (ratio === undefined) return { isMet: undefined, target: text, missing: "" };
  const isMet = ratio >= (target === "asGood" ? 1 / noise : wanted);
  return { isMet, target: text, missing: isMet ? "" : `${(wanted / ratio).toFixed(1)} times short` };
}

/** A figure with its unit, with as many digits as mean something. */
export function shown(value: number, unit: Unit): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const text = value === 0 || unit === "count" ? String(Math.round(value)) : value.toFixed(digits);
  return unit === "count" ? text : `${text} ${unit}`;
}

function withSpread({ p10, p50, p90, count }: Summary, unit: Unit): string {
  if (count < 3) return shown(p50, unit);
  const bare = (value: number) => shown(value, unit).split(" ")[0];
  return `${shown(p50, unit)} (${bare(p10)}–${bare(p90)})`;
}

/** Markdown: every row with the medians and, in brackets, the tenth and the ninetieth of a hundred. */
export function tableOf({ rows, versions }: Report): string[] {
  const names = Object.keys(versions).filter((name) => rows.some(({ values }) => name in values));
  const head = ["", ...names, "podrt against the best", "target", "missing"];
  const lines = rows.map(({ title, unit, better, values, best, verdict }) => [
    title,
    ...names.map((name) => (values[name] === undefined ? "–" : withSpread(values[name], unit))),
    best === undefined ? "" : `${times(best.ratio)} ${better} than ${best.who}`,
    verdict.target,
    verdict.isMet === undefined ? "" : verdict.isMet ? "met" : verdict.missing,
  ]);
  return alignedTable([head, ...lines]);
}

/** Markdown: podrt beside the peer that comes nearest to it, for a page. */
export function shortTableOf({ rows }: Report): string[] {
  const lines = rows.map(({ title, unit, values, best, verdict }) => [
    title,
    withSpread(values["podrt"]!, unit),
    best === undefined ? "" : `${withSpread(values[best.who]!, unit)} (${best.who})`,
    best === undefined ? "" : best.ratio.toFixed(best.ratio >= 10 ? 0 : 1),
    verdict.target,
    verdict.isMet === undefined ? "" : verdict.isMet ? "met" : verdict.missing,
  ]);
  return alignedTable([["", "podrt", "best peer", "times better", "target", ""], ...lines]);
}

function times(ratio: number): string {
  return `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(1)} times`;
}

/** Rows of equal width, the first one as head. */
function alignedTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)));
  const cell = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!);
  const line = (row: readonly string[]) => `| ${row.map(cell).join(" | ")} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`,
  );
  return [line(rows[0]!), `|${rule.join("|")}|`, ...rows.slice(1).map(line)];
}

/** Where, when and beside what it was measured. */
export function headOf({ machine, date, rounds, isQuick, versions }: Report): string {
  const peers = Object.entries(versions).map(([name, version]) => `${name} is ${version}`);
  const form = isQuick ? " The quick form: fewer pods and bytes than the titles say." : "";
  return `Measured on ${machine}, on ${date}; ${rounds} rounds, interleaved; ${peers.join("; ")}.${form}`;
}
