// SPDX-License-Identifier: Apache-2.0
import type { Container as KeptContainer } from "../../gen/podrt/v1/podrt_pb.ts";
import type { Container } from "../../gen/runtime/v1/api_pb.ts";
import {
  containerName,
  containersOf,
  hasEnded,
  isReadySandbox,
  isRunning,
  type PodEntry,
} from "../inventory.ts";

/** What one can wait for. */
export type Awaited = "exit" | "running" | "ready";

/** How far it is; `never` when it cannot come any more. */
export interface Progress {
  readonly is: "met" | "pending" | "never";
  /** The state that it is in, for who waits in vain. */
  readonly state: string;
}

/** A kept pod has one of these phases at last. */
const OVER: ReadonlySet<string> = new Set(["Succeeded", "Failed", "Stopped"]);
const ENDING: ReadonlySet<string> = new Set([...OVER, "Stopping", "Deleting"]);

/** Of a whole pod; undefined when it is not there any more. */
export function podProgress(pod: PodEntry | undefined, awaited: Awaited): Progress {
  if (pod === undefined) return { is: awaited === "exit" ? "met" : "never", state: "removed" };
  if (pod.kept === undefined) return foreignPodProgress(pod, awaited);
  const { phase, reason, containers, initContainers } = pod.kept;
  const state = [phase, reason].filter((part) => part !== "").join(", ");
  if (awaited === "exit") return { is: OVER.has(phase) ? "met" : "pending", state };
  if (ENDING.has(phase)) return { is: "never", state };
  const all = [...containers, ...initContainers.filter(({ sidecar }) => sidecar)];
  const isSo = ({ state, ready }: KeptContainer) => (awaited === "ready" ? ready : state === "running");
  const late = all.filter((container) => !isSo(container));
  // One that is done stays so, though the pod goes on with the others.
  const done = late.find((container) => container.state === "terminated");
  const told = done ?? late[0];
  if (told === undefined) return { is: "met", state };
  const why = told.reason === "" ? told.state : told.reason;
  return { is: done === undefined ? "pending" : "never", state: `container ${told.name} ${why}` };
}

/** Of a pod of a kubelet or crictl, which alone know of its probes. */
function foreignPodProgress({ sandbox, containers }: PodEntry, awaited: Awaited): Progress {
  const isReady = isReadySandbox(sandbox);
  const state = isReady ? "Ready" : "NotReady";
  const newest = newestOf(containers);
  if (awaited === "exit") {
    const isOver = !isReady || (newest.length > 0 && newest.every(hasEnded));
    return { is: isOver ? "met" : "pending", state };
  }
  if (!isReady) return { is: "never", state };
  return { is: newest.length > 0 && newest.every(isRunning) ? "met" : "pending", state };
}

/** The newest attempt of each container. */
export function newestOf(containers: readonly Container[]): Container[] {
  const names = [...new Set(containers.map(containerName))];
  return names.map((name) => containers.find((other) => containerName(other) === name)!);
}

/** Of one container by name; `attempt` is the one whose end is awaited, once there is one. */
export function containerProgress(
  pod: PodEntry | undefined,
  name: string,
  attempt: Container | undefined,
  awaited: Awaited,
): Progress {
  const kept = pod?.kept === undefined ? undefined : containersOf(pod.kept).find((one) => one.name === name);
  const newest = pod?.containers.find((container) => containerName(container) === name);
  if (awaited === "exit") {
    const found = attempt === undefined ? newest : pod?.containers.find(({ id }) => id === attempt.id);
    if (found !== undefined) return { is: hasEnded(found) ? "met" : "pending", state: stateOf(found) };
    if (attempt !== undefined) return { is: "met", state: "removed" };
  } else if (newest !== undefined && isRunning(newest) && (awaited === "running" || (kept?.ready ?? true))) {
    return { is: "met", state: stateOf(newest) };
  }
  const isLost =
    pod === undefined ||
    kept?.state === "terminated" ||
    (pod.kept === undefined
      ? !isReadySandbox(pod.sandbox) || (newest !== undefined && hasEnded(newest))
      : ENDING.has(pod.kept.phase));
  const why = kept === undefined ? stateOf(newest) : [kept.state, kept.reason].filter(Boolean).join(", ");
  return { is: isLost ? "never" : "pending", state: pod === undefined ? "removed" : why };
}

function stateOf(container: Container | undefined): string {
  if (container === undefined) return "not created";
  return isRunning(container) ? "running" : hasEnded(container) ? "ended" : "created";
}
