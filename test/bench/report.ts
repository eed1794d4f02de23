// SPDX-License-Identifier: Apache-2.0
import type { Samples, Summary } from "./samples.ts";

export interface Report {
  readonly machine: string;
  readonly rounds: number;
  readonly binaryBytes: number;
  /** In bytes. */
  readonly memory: readonly { readonly name: string; readonly pss: number; readonly private: number }[];
  /** In milliseconds. */
  readonly samples: Samples;
  readonly runtimes: readonly { readonly name: string; readonly version: string }[];
  /** Whether the kernel recorded clones and execs. */
  readonly isTraced: boolean;
}

/** The rows of the table in order; what was not measured is left out. */
function timeRows({ samples, runtimes }: Report): [string, Summary][] {
  const names = [
    "podrt: clone to execve",
    "podrt: asked to execve",
    ...runtimes.map(({ name }) => `${name}: asked to execve`),
    "StartContainer",
    "Create and StartContainer",
    ...runtimes.map(({ name }) => `${name} run --detach`),
    "RunPodSandbox",
    "ExecSync of true",
    "Stop and RemoveContainer",
    "Stop and RemovePodSandbox",
  ];
  return names.flatMap((name) => {
    const summary = samples.summary(name);
    return summary === undefined ? [] : [[name, summary] as [string, Summary]];
  });
}

interface Ratio {
  readonly name: string;
  /** To the start alone: what podrt's monitor does, from clone to execve. */
  readonly toLaunch: number;
  /** To the whole call: from StartContainer's request on the socket to execve. */
  readonly toCall: number;
}

/** How many times as long the other runtimes take, from their own exec to the application's, by the medians. */
function ratios({ samples, runtimes }: Report): Ratio[] {
  const launch = samples.summary("podrt: clone to execve");
  const call = samples.summary("podrt: asked to execve");
  return runtimes.flatMap(({ name }) => {
    const theirs = samples.summary(`${name}: asked to execve`);
    if (theirs === undefined || launch === undefined || call === undefined) return [];
    return [{ name, toLaunch: theirs.p50 / launch.p50, toCall: theirs.p50 / call.p50 }];
  });
}

/** Prints the report as a Markdown table, then as one JSON document. */
export function printReport(report: Report): void {
  const { machine, rounds, binaryBytes, memory, runtimes } = report;
  const rows = timeRows(report);
  const ms = (value: number) => `${value.toFixed(2)} ms`;
  const kib = (bytes: number) => `${Math.round(bytes / 1024)} KiB`;
  const versions = runtimes.map(({ name, version }) => `${name} ${version}`);
  const lines = [
    `Measured on ${machine}; ${rounds} rounds, interleaved${versions.length > 0 ? `; ${versions.join(", ")}` : ""}.`,
    "",
    ...table([["time", "p50", "p99"], ...rows.map(([name, { p50, p99 }]) => [name, ms(p50), ms(p99)])]),
    "",
    ...table([
      ["memory", "PSS", "private"],
      ...memory.map((row) => [row.name, kib(row.pss), kib(row.private)]),
    ]),
    "",
    ...ratios(report).map(
      ({ name, toLaunch, toCall }) =>
        `${name} takes ${toLaunch.toFixed(1)} times as long as podrt's launch, ` +
        `${toCall.toFixed(1)} times as long as its StartContainer call, to reach the application's execve.`,
    ),
    ...(report.isTraced
      ? []
      : ["The kernel's trace of clones and execs cannot be read here: those rows are missing."]),
    `The binary has ${(binaryBytes / 2 ** 20).toFixed(0)} MiB.`,
  ];
  console.log(lines.join("\n"));
  const times = Object.fromEntries(rows.map(([name, { p50, p99 }]) => [name, { p50Ms: p50, p99Ms: p99 }]));
  const json = { machine, rounds, runtimes, times, memoryBytes: memory, ratios: ratios(report), binaryBytes };
  console.log(`\n${JSON.stringify(json, null, 2)}`);
}

/** Rows of equal width, the first one as head. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(" | ")} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)];
}
