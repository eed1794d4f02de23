// SPDX-License-Identifier: Apache-2.0
import type { Pod } from "../gen/podrt/v1/podrt_pb.ts";
import { type Daemon, isNotFound, openDaemon, promptly } from "./client.ts";
import { age, shortId, timestamp } from "./human.ts";
import {
  containersOf,
  isReadySandbox,
  isRunning,
  type PodEntry,
  podTitle,
  takeInventory,
} from "./inventory.ts";
import { type Listing, printRows } from "./output/print.ts";
import type { Context } from "./program.ts";

/** The reason of containers that wait for init containers. */
const INITIALIZING = "PodInitializing";

export interface PodRow {
  readonly name: string;
  readonly namespace: string;
  readonly ready: string;
  readonly status: string;
  readonly restarts: number;
  readonly ip: string;
  readonly id: string;
  readonly createdAt: string;
  /** Why it is as it is; empty when there is nothing to say. */
  readonly message: string;
}

export async function pods({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const rows = await Promise.all(
    inventory.pods.map(async (pod) => ({ row: await podRow(daemon, pod), createdAtNs: pod.createdAtNs })),
  );
  await printRows({ io, output }, rows, LISTING);
  return 0;
}

const LISTING: Listing<{ readonly row: PodRow; readonly createdAtNs: bigint }> = {
  columns: [
    { heading: "NAME", cell: ({ row }) => row.name },
    { heading: "NAMESPACE", cell: ({ row }) => row.namespace },
    { heading: "READY", cell: ({ row }) => row.ready },
    { heading: "STATUS", cell: ({ row }, { paint }) => paint(row.status, colorOf(row.status)) },
    { heading: "RESTARTS", cell: ({ row }) => String(row.restarts) },
    { heading: "IP", cell: ({ row }) => row.ip || "-" },
    { heading: "AGE", cell: ({ createdAtNs }) => age(createdAtNs) },
    { heading: "ID", cell: ({ row }, { isWide }) => (isWide ? row.id : shortId(row.id)) || "-" },
    { heading: "MESSAGE", cell: ({ row }) => row.message || "-", wide: true },
  ],
  object: ({ row }) => row,
  name: ({ row }) => podTitle(row),
};

/** One pod in a line. */
export async function podRow(daemon: Daemon, pod: PodEntry): Promise<PodRow> {
  const { kept, sandbox } = pod;
  const current = pod.containers.filter(({ podSandboxId }) => podSandboxId === sandbox?.id);
  const names = new Set(current.map(({ metadata }) => metadata?.name));
  const counted = kept?.containers.concat(kept.initContainers.filter(({ sidecar }) => sidecar));
  const ready = counted?.filter((container) => container.ready).length ?? current.filter(isRunning).length;
  const attempts = [...names].map((name) =>
    Math.max(
      ...current
        .filter(({ metadata }) => metadata?.name === name)
        .map(({ metadata }) => metadata?.attempt ?? 0),
    ),
  );
  return {
    name: pod.name,
    namespace: pod.namespace,
    ready: `${ready}/${counted?.length ?? names.size}`,
    status: statusOf(pod),
    restarts: (kept === undefined ? attempts : containersOf(kept).map(({ restarts }) => restarts)).reduce(
      (sum, n) => sum + n,
      0,
    ),
    ip: kept?.addresses[0] ?? (isReadySandbox(sandbox) ? await addressOf(daemon, sandbox.id) : ""),
    id: sandbox?.id ?? "",
    createdAt: timestamp(pod.createdAtNs),
    message: messageOf(pod),
  };
}

/** The word that says most: what is amiss with the pod, else with one of its containers, else its phase. */
export function statusOf({ kept, sandbox }: PodEntry): string {
  if (kept === undefined) return isReadySandbox(sandbox) ? "Ready" : "NotReady";
  if (kept.reason !== "") return kept.reason;
  if (kept.phase !== "Pending" && kept.phase !== "Running") return kept.phase;
  const waiting = kept.containers.find(({ state, reason }) => state === "waiting" && reason !== "");
  return waiting?.reason === INITIALIZING ? initStatusOf(kept) : (waiting?.reason ?? kept.phase);
}

/** As kubectl says it: how many init containers are behind it, or what is amiss with one. */
function initStatusOf({ initContainers }: Pod): string {
  const amiss = initContainers.find(
    ({ state, reason }) => state === "waiting" && reason !== "" && reason !== INITIALIZING,
  );
  if (amiss !== undefined) return `Init:${amiss.reason}`;
  return `Init:${initContainers.filter(({ ready }) => ready).length}/${initContainers.length}`;
}

function messageOf({ kept }: PodEntry): string {
  if (kept === undefined) return "";
  if (kept.message !== "") return kept.message;
  const amiss = containersOf(kept).find(({ state, message }) => state === "waiting" && message !== "");
  return amiss === undefined ? "" : `${amiss.name}: ${amiss.message}`;
}

async function addressOf(daemon: Daemon, podSandboxId: string): Promise<string> {
  try {
    const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId }, promptly());
    return status?.network?.ip ?? "";
  } catch (error) {
    // It may have been removed since it was listed.
    if (isNotFound(error)) return "";
    throw error;
  }
}

/** How well that is. */
export function colorOf(status: string): "green" | "yellow" | "red" {
  if (["Running", "Ready", "Succeeded"].includes(status)) return "green";
  return ["Pending", "ContainerCreating", "Stopping", "Stopped", "Deleting", "NotReady"].includes(status) ||
    /^Init:\d/.test(status)
    ? "yellow"
    : "red";
}
