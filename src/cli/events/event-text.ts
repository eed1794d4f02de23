// SPDX-License-Identifier: Apache-2.0
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { timestamp } from "../human.ts";
import { podTitle } from "../inventory.ts";
import type { Color, Painter } from "../table.ts";

const KIND_WIDTH = "container".length;
const TYPE_WIDTH = "unhealthy".length;

/** One line: when, of what kind, what, to whom, and why. */
export function eventLine(event: Event, paint: Painter, isWide: boolean): string {
  const parts = [
    timestamp(event.atNs),
    event.kind.padEnd(KIND_WIDTH),
    paint(event.type.padEnd(TYPE_WIDTH), colorOf(event)),
    nameOf(event),
    ...(isWide && event.id !== "" ? [event.id] : []),
    reasonOf(event, isWide),
  ];
  return `${parts.filter((part) => part !== "").join("  ")}\n`;
}

/** POD, POD/CONTAINER, or the name of an image. */
export function nameOf({ kind, namespace, pod, container, image, id }: Event): string {
  if (kind === "image") return image || id;
  const title = podTitle({ namespace, name: pod });
  return container === "" ? title : `${title}/${container}`;
}

/** Why it happened, and what was said of it; empty where there is nothing to say. A long message is cut unless `isWide`. */
export function reasonOf(event: Event, isWide: boolean): string {
  const { type, kind, reason, exitCode, attempt, image } = event;
  const facts = [
    reason,
    exitCode === undefined ? "" : `exit code ${exitCode}`,
    type === "created" && kind === "container" ? image : "",
    (type === "created" || type === "started") && attempt > 0 ? `attempt ${attempt + 1}` : "",
  ].filter((fact) => fact !== "");
  // A message of a program's own may have any characters, and be long.
  const message = event.message.replaceAll(/\p{C}+/gu, " ").trim();
  const shown = isWide || message.length <= SHORT ? message : `${message.slice(0, SHORT)}…`;
  return [facts.join(", "), shown].filter((part) => part !== "").join(": ");
}

const SHORT = 200;

function colorOf({ type, exitCode }: Event): Color {
  if (["started", "ready", "pulled", "imported"].includes(type)) return "green";
  if (["trouble", "unhealthy", "failed", "lost"].includes(type)) return "red";
  if (type === "stopped") return exitCode === undefined || exitCode === 0 ? "yellow" : "red";
  return type === "created" ? "cyan" : "yellow";
}

/** Plain values, for programs. */
export function eventObject({ $typeName: _, $unknown: __, atNs, exitCode, ...event }: Event): object {
  return { at: timestamp(atNs), ...event, exitCode: exitCode ?? null };
}

/** Whether an event is of what `text` means: a pod with its containers, a container, an image, or the beginning of an id. */
export function isOf(event: Event, text: string): boolean {
  const { kind, namespace, pod, container, image, id } = event;
  const bare = id.replace(/^sha256:/, "");
  if (/^[0-9a-f]{4,}$/.test(text) && bare.startsWith(text)) return true;
  if (kind === "image") {
    const untagged = image.replace(/[:@][^:/]*(?::[0-9a-f]+)?$/, "");
    return [image, untagged].some((name) => name === text || name.endsWith(`/${text}`));
  }
  const names = [pod, `${namespace}/${pod}`];
  const inPod = [container, ...names.map((name) => `${name}/${container}`)];
  return names.includes(text) || (container !== "" && inPod.includes(text));
}
