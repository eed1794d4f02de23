// SPDX-License-Identifier: Apache-2.0
import type { Painter } from "../table.ts";
import {
  groupsOf,
  lanesOf,
  type MapProcess,
  type NamespaceGroup,
  type NamespaceMap,
  type PodMap,
  relations,
} from "./namespace-map.ts";

export interface TextOptions {
  /** Columns of the reader's terminal; undefined where nothing limits a line. */
  readonly width: number | undefined;
  /** False where the locale promises ASCII only. */
  readonly isUnicode: boolean;
  readonly paint: Painter;
}

interface Glyphs {
  readonly dots: Readonly<Record<NamespaceGroup["owner"], string>>;
  readonly lines: Readonly<Record<NamespaceGroup["owner"], string>>;
  /** Corners clockwise from the upper left, then horizontal and vertical. */
  readonly box: readonly [string, string, string, string, string, string];
  readonly more: string;
}

const UNICODE: Glyphs = {
  dots: { pod: "●", process: "○", machine: "◆" },
  lines: { pod: "┃", process: " ", machine: "┊" },
  box: ["┌", "┐", "┘", "└", "─", "│"],
  more: "…",
};
const ASCII: Glyphs = {
  dots: { pod: "*", process: "o", machine: "#" },
  lines: { pod: "|", process: " ", machine: ":" },
  box: ["+", "+", "+", "+", "-", "|"],
  more: "~",
};
const COLORS = { pod: "green", process: "cyan", machine: "yellow" } as const;

/** So much of an inode number tells apart what is there at one time. */
const INODE_DIGITS = 5;
const SHORTEST_NAME = 8;
const SHORTEST_LINE = 24;

/**
 * For each pod a box: a line for each process, a column for each kind of namespace, and a vertical line that joins those
 * who share one. Where there is room, dots have the ends of the inode numbers beside them.
 */
export function mapText(map: NamespaceMap, pods: readonly PodMap[], options: TextOptions): string {
  const glyphs = options.isUnicode ? UNICODE : ASCII;
  const boxes = pods.map((pod) => podBox(map, pod, glyphs, options));
  return `${boxes.join("\n")}\n${legend(glyphs, options)}`;
}

function legend({ dots }: Glyphs, { paint, width }: TextOptions): string {
  const entry = (owner: NamespaceGroup["owner"], words: string) =>
    `${paint(dots[owner], COLORS[owner])} ${words}`;
  const marks = [entry("pod", "shared"), entry("process", "its own"), entry("machine", "the machine's")];
  const source = "Who has the same number in /proc/PID/ns is in the same namespace.";
  return `${marks.join("   ")}\n${wrapped(source, width ?? Number.POSITIVE_INFINITY).join("\n")}\n`;
}

function podBox(map: NamespaceMap, pod: PodMap, glyphs: Glyphs, options: TextOptions): string {
  const room = options.width === undefined ? Number.POSITIVE_INFINITY : options.width - 4;
  const drawn = picture(map, pod, room, glyphs, options);
  const body = [...drawn, ...(drawn.length === 0 ? [] : [""]), ...words(map, pod, room)];
  const [upperLeft, upperRight, lowerRight, lowerLeft, across, down] = glyphs.box;
  const title = ` ${headline(pod)} `;
  const width = Math.max(Bun.stringWidth(title) + 2, ...body.map((line) => Bun.stringWidth(line) + 2));
  const lines = body.map((line) => `${down} ${line}${" ".repeat(width - 1 - Bun.stringWidth(line))}${down}`);
  return [
    `${upperLeft}${across}${title}${across.repeat(width - 1 - Bun.stringWidth(title))}${upperRight}`,
    ...lines,
    `${lowerLeft}${across.repeat(width)}${lowerRight}`,
    "",
  ].join("\n");
}

function headline({ title, isReady, addresses, monitor }: PodMap): string {
  return [
    `pod ${title}`,
    isReady ? "ready" : "not ready",
    ...addresses,
    ...(monitor === undefined ? [] : [`monitor ${monitor.pid}`]),
  ].join("  ");
}

/** Which kinds are shared by whom, or why there is nothing to see. */
function words(map: NamespaceMap, pod: PodMap, room: number): string[] {
  const told = relations(map, pod);
  if (told.length === 0) return wrapped("No process of it is left, and so none of its namespaces.", room);
  const heads = told.map(({ kinds }) => kinds.join(", "));
  const width = Math.max(...heads.map((head) => head.length)) + 2;
  const lines = told.flatMap((one, index) =>
    wrapped(one.words, Math.max(SHORTEST_LINE, room - width)).map(
      (line, part) => (part === 0 ? heads[index]! : "").padEnd(width) + line,
    ),
  );
  return pod.processes[0]!.pid === 0
    ? [...lines, ...wrapped("The pause has ended: this sandbox is over.", room)]
    : lines;
}

/** Lines of at most `room` columns, but for longer words. */
function wrapped(text: string, room: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && Bun.stringWidth(longer) <= room) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function picture(
  map: NamespaceMap,
  pod: PodMap,
  room: number,
  glyphs: Glyphs,
  { paint }: TextOptions,
): string[] {
  if (pod.processes.every(({ pid }) => pid === 0)) return [];
  const pids = pod.processes.map(pidTitle);
  const pidWidth = Math.max(3, ...pids.map((title) => title.length));
  const longest = Math.max(4, ...pod.processes.map(({ name }) => Bun.stringWidth(name)));
  const withNumbers = columnsOf(map, pod, true);
  const rest = (columns: readonly Column[]) =>
    room - pidWidth - 2 - columns.reduce((sum, { width }) => sum + width, 0);
  const hasNumbers = rest(withNumbers) >= longest;
  const columns = hasNumbers ? withNumbers : columnsOf(map, pod, false);
  const nameWidth = Math.min(longest, Math.max(SHORTEST_NAME, rest(columns)));
  const margin = (name: string, pid: string) =>
    `${fitted(name, nameWidth, glyphs)}  ${pid.padStart(pidWidth)}`;

  const lines = [
    `${margin("", "PID")}${columns.map(({ kind, width }) => `  ${kind}`.padEnd(width)).join("")}`,
  ];
  for (const [place, process] of pod.processes.entries()) {
    if (place > 0) {
      const joints = columns.map((column) => cells(column, (lane) => joint(lane, place, glyphs, paint)));
      lines.push(margin("", "") + joints.join(""));
    }
    const dots = columns.map((column) =>
      cells(column, (lane) => dot(lane, place, hasNumbers, glyphs, paint)),
    );
    lines.push(margin(process.name, pids[place]!) + dots.join(""));
  }
  return lines.map((line) => line.trimEnd());
}

interface Column {
  readonly kind: string;
  readonly lanes: readonly (readonly NamespaceGroup[])[];
  readonly laneWidth: number;
  readonly width: number;
}

function columnsOf(map: NamespaceMap, pod: PodMap, hasNumbers: boolean): Column[] {
  return map.kinds.map((kind) => {
    const lanes = lanesOf(groupsOf(map, pod, kind));
    const laneWidth = hasNumbers ? INODE_DIGITS + 4 : 4;
    return { kind, lanes, laneWidth, width: Math.max(kind.length + 2, lanes.length * laneWidth) };
  });
}

function cells(
  { lanes, laneWidth, width }: Column,
  content: (lane: readonly NamespaceGroup[]) => string,
): string {
  const text = lanes.map((lane) => padded(`  ${content(lane)}`, laneWidth)).join("");
  return padded(text, width);
}

/** What stands in a lane where a process has its line. */
function dot(
  lane: readonly NamespaceGroup[],
  place: number,
  hasNumbers: boolean,
  glyphs: Glyphs,
  paint: Painter,
): string {
  const group = reaching(lane, place);
  if (group === undefined) return "";
  if (!group.members.includes(place)) return paint(glyphs.lines[group.owner], COLORS[group.owner]);
  const number = hasNumbers ? ` ${String(group.inode).slice(-INODE_DIGITS)}` : "";
  return paint(glyphs.dots[group.owner], COLORS[group.owner]) + number;
}

/** What stands in a lane between the line of a process and the one above. */
function joint(lane: readonly NamespaceGroup[], place: number, glyphs: Glyphs, paint: Painter): string {
  const group = reaching(lane, place);
  if (group === undefined || group.members[0] === place) return "";
  return paint(glyphs.lines[group.owner], COLORS[group.owner]);
}

function reaching(lane: readonly NamespaceGroup[], place: number): NamespaceGroup | undefined {
  return lane.find(({ members }) => members[0]! <= place && place <= members.at(-1)!);
}

function pidTitle({ pid, state }: MapProcess): string {
  return pid === 0 ? state : String(pid);
}

function fitted(name: string, width: number, { more }: Glyphs): string {
  if (Bun.stringWidth(name) <= width) return padded(name, width);
  let cut = name;
  while (Bun.stringWidth(cut) > width - 1) cut = cut.slice(0, -1);
  return padded(cut + more, width);
}

function padded(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}
