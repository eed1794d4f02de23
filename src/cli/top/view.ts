// SPDX-License-Identifier: Apache-2.0
import { inverse } from "../control-sequences.ts";
import { memorySize, percent, shown, size } from "../human.ts";
import { colorOf } from "../pods.ts";
import { memoryPercent, type PodUsage, type Usage } from "../stats/usage.ts";
import { cutTo, type Painter } from "../table.ts";

/** What rows can be sorted by. */
export type Sort = "cpu" | "memory" | "pids" | "network" | "block" | "restarts" | "name";

/** What the person at the keys has chosen. */
export interface View {
  readonly sort: Sort;
  readonly isReversed: boolean;
  readonly hasContainers: boolean;
  /** The first row that is shown. */
  readonly offset: number;
}

const FIGURES: Readonly<Record<Exclude<Sort, "name">, (usage: Usage) => number>> = {
  cpu: ({ cpuPercent }) => cpuPercent ?? -1,
  memory: ({ memoryBytes }) => memoryBytes ?? -1,
  pids: ({ processes }) => processes ?? -1,
  network: ({ receivedRate, sentRate, received, sent }) =>
    (receivedRate ?? 0) + (sentRate ?? 0) || ((received ?? 0) + (sent ?? 0)) / TOTAL,
  block: ({ readRate, writtenRate, read, written }) =>
    (readRate ?? 0) + (writtenRate ?? 0) || ((read ?? 0) + (written ?? 0)) / TOTAL,
  restarts: ({ restarts }) => restarts,
};
/** What is used just now goes before whatever was used in all: totals decide below the smallest rate. */
const TOTAL = 2 ** 63;

/** Pods, each with its containers below it, both in the order of the view. */
export function rowsOf(pods: readonly PodUsage[], { sort, isReversed, hasContainers }: View): Usage[] {
  const sign = isReversed ? -1 : 1;
  const order = (a: Usage, b: Usage) => {
    const byName = nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0;
    if (sort === "name") return sign * byName;
    return sign * (FIGURES[sort](b) - FIGURES[sort](a)) || byName;
  };
  return pods
    .toSorted((a, b) => order(a.own, b.own))
    .flatMap(({ own, containers }) => [own, ...(hasContainers ? containers.toSorted(order) : [])]);
}

function nameOf({ pod, container }: Usage): string {
  return container ?? pod;
}

interface Column {
  readonly heading: string;
  readonly sort?: Sort;
  readonly isText?: boolean;
  /** Columns of the highest rank are left out first where the terminal is too narrow. */
  readonly rank: number;
  cell(usage: Usage): string;
}

const rate = (value: number) => `${size(Math.round(value))}`;

const COLUMNS: readonly Column[] = [
  {
    heading: "NAME",
    sort: "name",
    isText: true,
    rank: 0,
    cell: ({ pod, container }) => (container === undefined ? pod : `  ${container}`),
  },
  { heading: "STATE", isText: true, rank: 3, cell: ({ state }) => state },
  { heading: "CPU%", sort: "cpu", rank: 0, cell: ({ cpuPercent }) => percent(cpuPercent) },
  { heading: "MEMORY", sort: "memory", rank: 1, cell: ({ memoryBytes }) => shown(memoryBytes, memorySize) },
  { heading: "LIMIT", rank: 6, cell: ({ memoryLimitBytes }) => shown(memoryLimitBytes, memorySize) },
  { heading: "MEM%", rank: 4, cell: (usage) => percent(memoryPercent(usage)) },
  { heading: "PIDS", sort: "pids", rank: 2, cell: ({ processes }) => shown(processes, String) },
  { heading: "IN/S", sort: "network", rank: 7, cell: ({ receivedRate }) => shown(receivedRate, rate) },
  { heading: "OUT/S", rank: 7, cell: ({ sentRate }) => shown(sentRate, rate) },
  { heading: "READ/S", sort: "block", rank: 8, cell: ({ readRate }) => shown(readRate, rate) },
  { heading: "WRITE/S", rank: 8, cell: ({ writtenRate }) => shown(writtenRate, rate) },
  { heading: "RESTARTS", sort: "restarts", rank: 5, cell: ({ restarts }) => String(restarts) },
];

const GAP = "  ";
const LEAST_NAME = 12;

/** A table of at most `width` columns: its heading, and a line for each row. */
export function tableLines(rows: readonly Usage[], view: Pick<View, "sort">, width: number, paint: Painter) {
  const columns = chooseColumns(rows, width);
  const line = (cells: readonly string[]) => cells.join(GAP).trimEnd();
  const heading = line(
    columns.map(({ column, width }) => {
      const mark = column.sort === view.sort ? `${column.heading}*` : column.heading;
      return aligned(mark, column, width);
    }),
  );
  const lines = rows.map((usage) =>
    line(
      columns.map(({ column, width }) => {
        const cell = aligned(column.cell(usage), column, width);
        return column.heading === "STATE" ? paint(cell, colorOf(usage.state)) : cell;
      }),
    ),
  );
  return { heading, lines };
}

/** Those that fit, the name being cut where even the last of them would not. */
function chooseColumns(rows: readonly Usage[], width: number) {
  let columns = COLUMNS.map((column) => ({
    column,
    width: Math.max(
      Bun.stringWidth(column.heading) + (column.sort === undefined ? 0 : 1),
      ...rows.map((row) => Bun.stringWidth(column.cell(row))),
    ),
  }));
  const isName = ({ column }: (typeof columns)[number]) => column.heading === "NAME";
  const total = (least: number) =>
    columns.reduce(
      (sum, column) => sum + (isName(column) ? Math.min(least, column.width) : column.width),
      0,
    ) +
    GAP.length * (columns.length - 1);
  // A name may be cut to some extent before a column goes.
  while (total(LEAST_NAME * 2) > width && columns.some(({ column }) => column.rank > 0)) {
    const worst = Math.max(...columns.map(({ column }) => column.rank));
    columns = columns.filter(({ column }) => column.rank < worst);
  }
  const room = width - total(0);
  return columns.map((column) =>
    isName(column) ? { ...column, width: Math.max(1, Math.min(column.width, room)) } : column,
  );
}

function aligned(text: string, { isText }: Column, width: number): string {
  const cut = cutTo(text, width);
  const padding = " ".repeat(width - Bun.stringWidth(cut));
  return isText ? `${cut}${padding}` : `${padding}${cut}`;
}

const KEYS =
  "q quit  c cpu  m memory  p pids  i network  b block  r restarts  n name  R reverse  t containers";

export interface Picture {
  readonly pods: readonly PodUsage[];
  readonly view: View;
  readonly size: { readonly width: number; readonly height: number };
  /** In place of the totals, where something is amiss. */
  readonly note: string | undefined;
  readonly time: string;
}

/** The lines of the whole screen, and the view with an offset that its rows have. */
export function screenLines({ pods, view, size: { width, height }, note, time }: Picture, paint: Painter) {
  const rows = rowsOf(pods, view);
  const room = Math.max(1, height - 3);
  const offset = Math.max(0, Math.min(view.offset, rows.length - room));
  const { heading, lines } = tableLines(rows, view, width, paint);
  const top = cutTo(`podrt top  ${time}  ${note ?? totals(pods)}`, width);
  const head = inverse(cutTo(heading, width).padEnd(width));
  const shownRows = lines.slice(offset, offset + room);
  const blank = Array.from({ length: room - shownRows.length }, () => "");
  const more = rows.length > room ? `${offset + 1}-${offset + shownRows.length} of ${rows.length}  ` : "";
  const screen = [note === undefined ? top : paint(top, "red"), head, ...shownRows, ...blank];
  return { lines: [...screen, cutTo(`${more}${KEYS}`, width)].slice(0, height), offset };
}

function totals(pods: readonly PodUsage[]): string {
  const running = pods.flatMap(({ containers }) => containers).filter(({ isMeasured }) => isMeasured);
  const own = pods.map((pod) => pod.own);
  const sum = (pick: (usage: Usage) => number | undefined) =>
    own.reduce((all, usage) => all + (pick(usage) ?? 0), 0);
  const cpu = percent(sum(({ cpuPercent }) => cpuPercent));
  const memory = memorySize(sum(({ memoryBytes }) => memoryBytes));
  return `pods ${pods.length}, containers running ${running.length}, CPU ${cpu} %, memory ${memory}`;
}
