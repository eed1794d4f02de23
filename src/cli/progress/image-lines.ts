// SPDX-License-Identifier: Apache-2.0
import type { ImageProgress, LayerProgress } from "../../gen/podrt/v1/podrt_pb.ts";
import { shortId, size, timeLeft } from "../human.ts";
import type { Pace, Paces } from "./pace.ts";

const BAR_MIN = 10;
const BAR_MAX = 30;
const SIZE_CHARACTERS = 6;
const RATE_CHARACTERS = 8;
const TIME_CHARACTERS = 6;

/** What a terminal of `width` columns shows of an image: a line about it, and one for each layer, `rows` at most. */
export function imageLines(
  image: ImageProgress,
  paces: Paces,
  nowMs: number,
  { width, rows }: { readonly width: number; readonly rows: number },
): string[] {
  const room = Math.max(0, rows - 1);
  const shown = layersToShow(image.layers, room);
  const rest = image.layers.length - shown.length;
  const lines = [
    headline(image, paces.ofImage(image, nowMs)),
    ...shown.map((layer) => layerLine(layer, paces.ofLayer(image, layer, nowMs), width)),
    ...(rest > 0 && room > 0 ? [`  ... and ${rest} more layer${rest === 1 ? "" : "s"}`] : []),
  ];
  // The last column is left free: some terminals go to the next line with it.
  return lines.map((line) => line.slice(0, Math.max(1, width - 1)));
}

/** All layers where there is room, else those that something is done with. */
function layersToShow(layers: readonly LayerProgress[], room: number): readonly LayerProgress[] {
  if (layers.length <= room) return layers;
  const active = layers.filter(({ state }) => ["downloading", "unpacking", "downloaded"].includes(state));
  const chosen = new Set(
    [...active, ...layers.filter(({ state }) => state === "waiting"), ...layers].slice(
      0,
      Math.max(0, room - 1),
    ),
  );
  return layers.filter((layer) => chosen.has(layer));
}

function headline(image: ImageProgress, pace: Pace): string {
  const { reference, phase, layers, doneBytes, totalBytes, step } = image;
  const name = reference === "" ? "archive" : reference;
  if (layers.length === 0)
    return doneBytes === 0n ? `${name}: ${phase || step}` : `${name}: ${phase || step} ${size(doneBytes)}`;
  const done = layers.filter(({ state }) => state === "done" || state === "present").length;
  const counted = `${name}: ${done}/${layers.length} layers`;
  return totalBytes === 0n
    ? counted
    : [`${counted}, ${size(doneBytes)}/${size(totalBytes)}`, ...paceWords(pace)].join(", ");
}

function paceWords({ perSecond, secondsLeft }: Pace): string[] {
  return [
    ...(perSecond === undefined ? [] : [`${size(Math.round(perSecond))}/s`]),
    ...(secondsLeft === undefined || secondsLeft === 0 ? [] : [`${timeLeft(secondsLeft)} left`]),
  ];
}

function layerLine(layer: LayerProgress, { perSecond, secondsLeft }: Pace, width: number): string {
  const begin = `  ${shortId(layer.digest)}  `;
  if (layer.state !== "downloading") return `${begin}${stateWords(layer)}`;
  const bytes = `${size(layer.doneBytes).padStart(SIZE_CHARACTERS)}/${size(layer.totalBytes).padEnd(SIZE_CHARACTERS)}`;
  const rate = perSecond === undefined ? "" : `${size(Math.round(perSecond))}/s`;
  const left = secondsLeft === undefined ? "" : timeLeft(secondsLeft);
  const end = `${bytes} ${rate.padStart(RATE_CHARACTERS)} ${left.padStart(TIME_CHARACTERS)}`;
  const room = Math.min(BAR_MAX, width - 1 - begin.length - end.length - 1);
  return room < BAR_MIN ? `${begin}${end}` : `${begin}${bar(layer, room)} ${end}`;
}

function bar({ doneBytes, totalBytes }: LayerProgress, width: number): string {
  const inner = width - 2;
  const done = totalBytes === 0n ? inner : Math.floor((Number(doneBytes) / Number(totalBytes)) * inner);
  const head = done < inner ? ">" : "";
  return `[${("=".repeat(done) + head).padEnd(inner)}]`;
}

/** As in `downloaded, 12MB`. */
export function stateWords({ state, keptBytes, totalBytes }: LayerProgress): string {
  switch (state) {
    case "present":
      return "already here";
    case "downloaded": {
      const kept = keptBytes === 0n ? "" : `, ${size(keptBytes)} of it by an earlier pull`;
      return `downloaded, ${size(totalBytes)}${kept}`;
    }
    default:
      return state;
  }
}
