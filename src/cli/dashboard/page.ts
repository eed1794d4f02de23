// SPDX-License-Identifier: Apache-2.0
import { hostname } from "node:os";
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { printable } from "../../lib/foreign-text.ts";
import { Markup, markup } from "../../lib/markup.ts";
import { nameOf, reasonOf } from "../events/event-text.ts";
import { shortId, size, timestamp } from "../human.ts";
import { podSvg } from "../map/map-svg.ts";
import { type NamespaceMap, type PodMap, relations } from "../map/namespace-map.ts";
import { colorOf } from "../pods.ts";
import type { ContainerLine, DashboardState, PodLine, Usage } from "./state.ts";

/** HTML by the id of the element that it fills. */
export type PageParts = Readonly<Record<(typeof PARTS)[number], string>>;

const PARTS = ["problem", "summary", "map", "pods", "containers", "events"] as const;

export interface PageContent {
  /** As it was when the daemon answered last; undefined while it never has. */
  readonly state: DashboardState | undefined;
  /** The latest first. */
  readonly events: readonly Event[];
  /** Why the daemon does not answer. */
  readonly problem: string | undefined;
}

export function pageParts({ state, events, problem }: PageContent): PageParts {
  const { map, pods = [], containers = [] } = state ?? {};
  const parts = {
    problem:
      problem === undefined
        ? markup``
        : markup`<p class="amiss">${problem}. What is shown is as it was before; it is asked again every two seconds.</p>`,
    summary: summary(pods, containers),
    map: map === undefined || map.pods.length === 0 ? nothing("There are no pods.") : maps(map),
    pods: podTable(pods),
    containers: containerTable(containers),
    events: eventList(events),
  };
  return Object.fromEntries(PARTS.map((id) => [id, parts[id].text])) as PageParts;
}

/** The whole page with its parts in it, so that it can be read without a script too. */
export function pageDocument(parts: PageParts): string {
  const part = (id: (typeof PARTS)[number]) => new Markup(parts[id]);
  const host = hostname();
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>podrt on ${host}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="dashboard.css">
<script src="dashboard.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the pods</a>
<header>
<h1>podrt on ${host}</h1>
<p id="summary">${part("summary")}</p>
<p>Connection: <span id="connection" role="status">not live: reload to see it as it is now</span></p>
<nav aria-label="Sections"><a href="#map-title">Map</a> <a href="#pods-title">Pods</a> <a href="#containers-title">Containers</a> <a href="#events-title">Events</a></nav>
<div id="problem" role="alert">${part("problem")}</div>
</header>
<main id="main" tabindex="-1">
<section aria-labelledby="map-title"><h2 id="map-title">Map</h2>
<p class="legend"><span class="mark shared"></span> shared in the pod <span class="mark own"></span> its own <span class="mark machines"></span> the machine’s. The numbers are those of <code>/proc/PID/ns</code>: who has the same is in the same namespace.</p>
<div id="map">${part("map")}</div></section>
<section aria-labelledby="pods-title"><h2 id="pods-title">Pods</h2><div id="pods">${part("pods")}</div></section>
<section aria-labelledby="containers-title"><h2 id="containers-title">Containers</h2><div id="containers">${part("containers")}</div></section>
<section aria-labelledby="events-title"><h2 id="events-title">Events</h2><p class="legend">The last ones; <code>podrt events</code> has more.</p><div id="events">${part("events")}</div></section>
</main>
</body>
</html>
`.text;
}

function summary(pods: readonly PodLine[], containers: readonly ContainerLine[]): Markup {
  const running = containers.filter(({ state }) => state === "Running").length;
  return markup`${counted(pods.length, "pod")}, ${counted(running, "running container")}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function nothing(sentence: string): Markup {
  return markup`<p class="faint">${sentence}</p>`;
}

/** The picture may be wider than the window: then it is moved by the arrow keys, for which it can have the focus. */
function maps(map: NamespaceMap): Markup {
  const figure = (pod: PodMap) =>
    markup`<figure data-key="${pod.id}"><div class="wide" tabindex="0" role="region" aria-label="Map of pod ${pod.title}">${podSvg(map, pod)}</div><figcaption>${words(map, pod)}</figcaption></figure>`;
  return markup`${map.pods.map(figure)}`;
}

function words(map: NamespaceMap, pod: PodMap): Markup {
  const told = relations(map, pod);
  if (told.length === 0)
    return markup`No process of pod ${pod.title} is left, and so none of its namespaces.`;
  return markup`${told.map(({ kinds, words }) => markup`<span class="relation"><b>${kinds.join(", ")}</b> ${words}</span>`)}`;
}

interface Cell {
  readonly content: string | Markup;
  readonly isNumber?: boolean;
}

const cell = (content: string | Markup): Cell => ({ content });
const number = (content: string): Cell => ({ content, isNumber: true });

/** On small screens each row is a card, in which the headings stand before the cells. */
function table(
  caption: string,
  headings: readonly string[],
  rows: readonly { readonly key: string; readonly cells: readonly Cell[] }[],
): Markup {
  const head = headings.map((heading) => markup`<th scope="col" role="columnheader">${heading}</th>`);
  const row = ({ key, cells }: (typeof rows)[number]) =>
    markup`<tr role="row" data-key="${key}">${cells.map(({ content, isNumber }, column) =>
      column === 0
        ? markup`<th scope="row" role="rowheader">${content}</th>`
        : markup`<td role="cell" data-label="${headings[column]}"${isNumber ? markup` class="number"` : undefined}>${content}</td>`,
    )}</tr>`;
  return markup`<table role="table"><caption class="unseen">${caption}</caption><thead role="rowgroup"><tr role="row">${head}</tr></thead><tbody role="rowgroup">${rows.map(row)}</tbody></table>`;
}

const POD_HEADINGS = [
  "Pod",
  "Status",
  "Ready",
  "Restarts",
  "Address",
  "CPU",
  "Memory",
  "Received",
  "Sent",
  "Age",
];

function podTable(pods: readonly PodLine[]): Markup {
  if (pods.length === 0) return nothing("There are no pods; podrt run makes some.");
  const rows = pods.map((pod) => ({
    key: pod.id === "" ? pod.title : pod.id,
    cells: [
      cell(pod.title),
      cell(
        markup`<span class="state ${colorOf(pod.status)}">${pod.status}</span>${pod.message === "" ? undefined : markup` <span class="message">${pod.message}</span>`}`,
      ),
      number(pod.ready),
      number(String(pod.restarts)),
      cell(pod.ip === "" ? "–" : pod.ip),
      ...usageCells(pod),
      number(bytes(pod.receivedBytes)),
      number(bytes(pod.sentBytes)),
      number(pod.age),
    ],
  }));
  return table("Pods, newest first", POD_HEADINGS, rows);
}

const CONTAINER_HEADINGS = [
  "Container",
  "Pod",
  "State",
  "Process",
  "Image",
  "CPU",
  "Memory",
  "Restarts",
  "Age",
];

function containerTable(containers: readonly ContainerLine[]): Markup {
  if (containers.length === 0) return nothing("There are no containers.");
  const rows = containers.map((container) => ({
    key: container.id,
    cells: [
      cell(markup`<span title="${shortId(container.id)}">${container.name}</span>`),
      cell(container.pod),
      cell(
        markup`<span class="state ${container.state === "Running" ? "green" : "yellow"}">${container.state}</span>`,
      ),
      number(container.pid === 0 ? "–" : String(container.pid)),
      cell(container.image),
      ...usageCells(container),
      number(String(container.restarts)),
      number(container.age),
    ],
  }));
  return table("Containers, by pod", CONTAINER_HEADINGS, rows);
}

function usageCells({ nanoCores, memoryBytes }: Usage): Cell[] {
  const percent = nanoCores === undefined ? "–" : `${(Number(nanoCores) / 1e7).toFixed(1)} %`;
  return [number(percent), number(bytes(memoryBytes))];
}

function bytes(count: bigint | undefined): string {
  return count === undefined ? "–" : size(count);
}

/** So much of a name is shown: those of other programs may have any characters. */
const NAME_CHARACTERS = 300;

function eventList(events: readonly Event[]): Markup {
  if (events.length === 0) return nothing("Nothing has happened yet.");
  const item = (event: Event) => {
    const at = timestamp(event.atNs);
    const name = printable(nameOf(event), NAME_CHARACTERS);
    const reason = reasonOf(event, false);
    return markup`<li data-key="${String(event.atNs)}"><time datetime="${at}">${at.slice(11, 19)}</time> ${event.kind} <b>${name}</b> ${event.type}${reason === "" ? "" : `: ${reason}`}</li>`;
  };
  return markup`<ol class="events">${events.map(item)}</ol>`;
}
