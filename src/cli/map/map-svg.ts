// SPDX-License-Identifier: Apache-2.0
import { Markup, markup } from "../../lib/markup.ts";
import {
  groupsOf,
  lanesOf,
  listed,
  type MapProcess,
  type NamespaceGroup,
  type NamespaceMap,
  type PodMap,
  relations,
} from "./namespace-map.ts";

/* Places and sizes are in the picture's own unit, a pixel where it is not scaled. */
const MARGIN = 16;
const PADDING = 20;
const LABEL_WIDTH = 236;
/** Where the words beside a kind begin. */
const CONTENTS_LEFT = 66;
const COLUMN_WIDTH = 150;
const COLUMN_GAP = 14;
const CARD = { top: 48, height: 58 } as const;
const ROWS_TOP = 122;
const ROW_HEIGHT = 34;
const BAR_HEIGHT = 24;
const LEGEND_HEIGHT = 26;
const EMPTY_WIDTH = 520;
/** What a card has room for, in letters of usual width. */
const CARD_LETTERS = 15;
const SMALL_LETTERS = 19;

/** What each kind of namespace has of its own; namespaces(7). */
const CONTENTS: Readonly<Record<string, string>> = {
  net: "addresses, ports, routes",
  ipc: "shared memory, queues",
  uts: "host name",
  pid: "process numbers",
  mnt: "the tree of files",
  cgroup: "what cgroups look like",
  user: "user ids, capabilities",
  time: "clocks since boot",
};

/** The pictures' own style: light or dark as the reader's system is, and told apart without colours too. */
export const MAP_STYLE = `
.podrt-map { font: 14px system-ui, sans-serif; }
.podrt-map text { fill: #1f2328; }
.podrt-map .paper { fill: #ffffff; }
.podrt-map .frame { fill: #f6f8fa; stroke: #d1d9e0; }
.podrt-map .guide { stroke: #d1d9e0; }
.podrt-map .card { fill: #ffffff; stroke: #818b98; }
.podrt-map .card.pause { stroke: #1a7f37; stroke-width: 3; }
.podrt-map .sign { fill: #1a7f37; }
.podrt-map .strong { font-weight: 600; }
.podrt-map .small { font-size: 12px; }
.podrt-map .faint { fill: #59636e; }
.podrt-map .number { font: 12px ui-monospace, monospace; }
.podrt-map .pod { fill: #1a7f37; stroke: #1a7f37; }
.podrt-map text.on-pod { fill: #ffffff; }
.podrt-map .process { fill: #ddf4ff; stroke: #0969da; }
.podrt-map text.on-process { fill: #0a3069; }
.podrt-map .machine { fill: #fff8c5; stroke: #9a6700; stroke-dasharray: 5 3; }
.podrt-map text.on-machine { fill: #633c01; }
.podrt-map .link { stroke: none; }
.podrt-map .machine.link { fill: #9a6700; }
@media (prefers-color-scheme: dark) {
  .podrt-map text { fill: #f0f6fc; }
  .podrt-map .paper { fill: #0d1117; }
  .podrt-map .frame { fill: #151b23; stroke: #3d444d; }
  .podrt-map .guide { stroke: #3d444d; }
  .podrt-map .card { fill: #0d1117; stroke: #9198a1; }
  .podrt-map .card.pause { stroke: #3fb950; }
  .podrt-map .sign { fill: #3fb950; }
  .podrt-map .faint { fill: #9198a1; }
  .podrt-map .pod { fill: #196c2e; stroke: #3fb950; }
  .podrt-map .process { fill: #10233f; stroke: #4493f8; }
  .podrt-map text.on-process { fill: #a5d6ff; }
  .podrt-map .machine { fill: #2b2111; stroke: #d29922; }
  .podrt-map text.on-machine { fill: #f2cc60; }
  .podrt-map .machine.link { fill: #d29922; }
}
`;

/** Pods below each other as one file that needs no other. */
export function mapSvg(map: NamespaceMap, pods: readonly PodMap[]): string {
  const drawn = pods.map((pod) => drawPod(map, pod));
  const width = Math.max(EMPTY_WIDTH, ...drawn.map((one) => one.width)) + 2 * MARGIN;
  let top = MARGIN;
  const placed = drawn.map(({ body, height }) => {
    const group = markup`<g transform="translate(${MARGIN} ${top})">${body}</g>\n`;
    top += height + MARGIN;
    return group;
  });
  const label =
    pods.length === 0
      ? "There are no pods."
      : `Namespaces of ${listed(pods.map(({ title }) => `pod ${title}`))}`;
  const svg = markup`<svg xmlns="http://www.w3.org/2000/svg" class="podrt-map" role="img" aria-labelledby="title desc" width="${width}" height="${top + LEGEND_HEIGHT}" viewBox="0 0 ${width} ${top + LEGEND_HEIGHT}">
<title id="title">${label}</title>
<desc id="desc">${pods.map((pod) => `${inWords(map, pod)} `)}</desc>
<style>${new Markup(MAP_STYLE)}</style>
<rect class="paper" width="100%" height="100%"/>
${pods.length === 0 ? markup`<text x="${MARGIN}" y="30">${label}</text>` : placed}
${legend(top)}
</svg>
`;
  return svg.text;
}

/** One pod, for a page that has the style. */
export function podSvg(map: NamespaceMap, pod: PodMap): Markup {
  const { body, width, height } = drawPod(map, pod);
  return markup`<svg class="podrt-map" role="img" aria-label="${inWords(map, pod)}" width="${width + 2}" height="${height + 2}" viewBox="-1 -1 ${width + 2} ${height + 2}">${body}</svg>`;
}

/** The same for those who do not see it. */
function inWords(map: NamespaceMap, pod: PodMap): string {
  const told = relations(map, pod).map(({ kinds, words }) => `${listed(kinds)} ${words}`);
  const who = pod.processes.map((one) => `${one.name} (${pidTitle(one)})`);
  return `Pod ${pod.title}, ${pod.isReady ? "ready" : "not ready"}: ${listed(who)}. Namespaces: ${told.join(". ") || "none are left"}.`;
}

interface Drawn {
  readonly body: Markup;
  readonly width: number;
  readonly height: number;
}

function drawPod(map: NamespaceMap, pod: PodMap): Drawn {
  const rows = map.kinds.flatMap((kind) => {
    const lanes = lanesOf(groupsOf(map, pod, kind));
    return lanes.map((lane, index) => ({ kind: index === 0 ? kind : "", lane }));
  });
  const width = columnLeft(pod.processes.length) - COLUMN_GAP + PADDING;
  const bottom = ROWS_TOP + rows.length * ROW_HEIGHT;
  const body = markup`<rect class="frame" width="${width}" height="${bottom + PADDING / 2}" rx="12"/>
<text class="strong" x="${PADDING}" y="30">pod ${pod.title}</text>
<text class="small faint" x="${width - PADDING}" y="30" text-anchor="end">${headline(pod)}</text>
${pod.processes.map((_, column) => guide(column, bottom))}
${pod.processes.map(card)}
${rows.map(({ kind, lane }, row) => drawRow(pod, kind, lane, ROWS_TOP + row * ROW_HEIGHT))}`;
  return { body, width, height: bottom + PADDING / 2 };
}

function headline({ isReady, addresses, monitor }: PodMap): string {
  const parts = [isReady ? "ready" : "not ready", ...addresses];
  return [...parts, ...(monitor === undefined ? [] : [`child of monitor ${monitor.pid}`])].join(" · ");
}

function columnLeft(column: number): number {
  return PADDING + LABEL_WIDTH + column * (COLUMN_WIDTH + COLUMN_GAP);
}

function columnMiddle(column: number): number {
  return columnLeft(column) + COLUMN_WIDTH / 2;
}

function guide(column: number, bottom: number): Markup {
  const x = columnMiddle(column);
  return markup`<line class="guide" x1="${x}" y1="${CARD.top + CARD.height}" x2="${x}" y2="${bottom - (ROW_HEIGHT - BAR_HEIGHT)}"/>`;
}

/** A process: its name, the two strokes of a pause where it is one, its number and its image. */
function card(process: MapProcess, column: number): Markup {
  const left = columnLeft(column);
  const isPause = process.role === "pause";
  const sign = markup`<rect class="sign" x="${left + 12}" y="${CARD.top + 12}" width="5" height="16"/><rect class="sign" x="${left + 21}" y="${CARD.top + 12}" width="5" height="16"/>`;
  return markup`<g><title>${[process.name, pidTitle(process), process.image].filter(Boolean).join(", ")}</title>
<rect class="card${isPause ? " pause" : ""}" x="${left}" y="${CARD.top}" width="${COLUMN_WIDTH}" height="${CARD.height}" rx="8"/>
${isPause ? sign : undefined}<text class="strong" x="${left + (isPause ? 34 : 12)}" y="${CARD.top + 25}">${cut(process.name, CARD_LETTERS)}</text>
<text class="small faint" x="${left + 12}" y="${CARD.top + 46}">${cut([pidTitle(process), imageTitle(process)].filter(Boolean).join(" · "), SMALL_LETTERS)}</text></g>`;
}

function drawRow(pod: PodMap, kind: string, lane: readonly NamespaceGroup[], top: number): Markup {
  const label = markup`<text class="strong" x="${PADDING}" y="${top + 17}">${kind}</text><text class="small faint" x="${PADDING + CONTENTS_LEFT}" y="${top + 17}">${CONTENTS[kind]}</text>`;
  return markup`${kind === "" ? undefined : label}
${lane.map((group) => drawGroup(pod, group, top))}`;
}

/** One bar where the members stand side by side; else a bar for each, with a line that passes by the others. */
function drawGroup({ processes }: PodMap, group: NamespaceGroup, top: number): Markup {
  const { members, owner, kind, inode, otherPods } = group;
  const [first, last] = [members[0]!, members.at(-1)!];
  const isWhole = last - first + 1 === members.length;
  const whose = { machine: "the machine's", pod: "shared", process: "its own" }[owner];
  const names = listed(members.map((place) => processes[place]!.name));
  const others = otherPods.length === 0 ? "" : `, also of pod ${listed(otherPods)}`;
  const middle = top + BAR_HEIGHT / 2;
  const line = markup`<rect class="${owner} link" x="${columnMiddle(first)}" y="${middle - 3}" width="${columnMiddle(last) - columnMiddle(first)}" height="6"/>`;
  const bars = isWhole ? [[first, last] as const] : members.map((place) => [place, place] as const);
  return markup`<g><title>${kind} namespace ${inode}: ${names}, ${whose}${others}</title>${isWhole ? undefined : line}${bars.map(
    ([from, to]) =>
      bar(owner, from, to, top, `${inode}`, owner === "machine" && to > from ? "the machine's " : ""),
  )}</g>`;
}

function bar(
  owner: NamespaceGroup["owner"],
  from: number,
  to: number,
  top: number,
  number: string,
  before: string,
): Markup {
  const left = columnLeft(from);
  const width = columnLeft(to) + COLUMN_WIDTH - left;
  return markup`<rect class="${owner}" x="${left}" y="${top}" width="${width}" height="${BAR_HEIGHT}" rx="${BAR_HEIGHT / 2}"/><text class="number on-${owner}" x="${left + width / 2}" y="${top + 16}" text-anchor="middle">${before}${number}</text>`;
}

function legend(top: number): Markup {
  const entries = [
    ["pod", "shared"],
    ["process", "its own"],
    ["machine", "the machine's"],
  ] as const;
  const drawn = entries.map(([owner, words], index) => {
    const left = MARGIN + PADDING + index * 120;
    return markup`<rect class="${owner}" x="${left}" y="${top}" width="28" height="12" rx="6"/><text class="small" x="${left + 36}" y="${top + 11}">${words}</text>`;
  });
  return markup`<g>${drawn}</g>`;
}

function pidTitle({ pid, state }: MapProcess): string {
  return pid === 0 ? state : `pid ${pid}`;
}

/** The last part of a reference and a tag that says something, which tells most in a small place. */
function imageTitle({ image }: MapProcess): string {
  return (
    image
      .replace(/(:latest)?(@sha256:.*)?$/, "")
      .split("/")
      .at(-1) ?? ""
  );
}

function cut(text: string, letters: number): string {
  const characters = [...text];
  return characters.length <= letters ? text : `${characters.slice(0, letters - 1).join("")}…`;
}
