// SPDX-License-Identifier: Apache-2.0
import type { Timing } from "../../telemetry/stopwatch.ts";
import { containersOf, isReadySandbox, type PodEntry, podTitle } from "../inventory.ts";
import { nextTry } from "./container-story.ts";
import { failedStep, likelyCause } from "./likely-cause.ts";
import { moments, type Story } from "./story.ts";

/** Whether whoever asked has ended the pod, or is about to. */
export function isEnding({ kept }: PodEntry): boolean {
  return kept !== undefined && ["Stopping", "Stopped", "Deleting"].includes(kept.phase);
}

/** What verbose status tells of a sandbox. */
export interface SandboxInfo {
  /** Why it is no longer ready, in words; empty where it is. */
  readonly reason?: string;
  readonly timings?: readonly Timing[];
}

export function podStory(pod: PodEntry, { reason: sandboxEnd = "", timings = [] }: SandboxInfo): Story {
  const { kept, sandbox } = pod;
  const state = stateOf(pod);
  const amiss = kept === undefined ? [] : containersOf(kept).filter(({ reason }) => AMISS.test(reason));
  const isWell = kept === undefined ? isReadySandbox(sandbox) : WELL.has(state) && amiss.length === 0;
  const reason = kept?.reason ?? "";
  const message = kept?.message || sandboxEnd;
  const cause = reason === "" ? undefined : likelyCause({ reason, message });
  const step = reason === "" ? undefined : failedStep(message);
  return {
    kind: "pod",
    name: podTitle(pod),
    id: sandbox?.id ?? "",
    state,
    isWell,
    facts: [...(message === "" ? [] : [message]), ...factsOf(pod, amiss)],
    ...(step === undefined ? {} : { failedStep: step }),
    ...(cause === undefined ? {} : { likely: cause }),
    ...nextTry(kept),
    times: moments([
      ["the pod was asked for", kept?.createdAtNs ?? 0n],
      [
        `its sandbox was begun${(sandbox?.metadata?.attempt ?? 0) > 0 ? " anew" : ""}`,
        sandbox?.createdAt ?? 0n,
      ],
    ]),
    operations: timings,
    log: [],
  };
}

const WELL: ReadonlySet<string> = new Set(["Running", "Succeeded"]);
const AMISS = /^(Err|Create|Run|CrashLoop|OOM|Error|StartError)/;

function stateOf({ kept, sandbox }: PodEntry): string {
  if (kept === undefined) return isReadySandbox(sandbox) ? "Ready" : "NotReady";
  return kept.reason === "" ? kept.phase : kept.reason;
}

function factsOf(pod: PodEntry, amiss: readonly { name: string; reason: string }[]): string[] {
  const { kept, sandbox } = pod;
  const facts: string[] = [];
  if (isEnding(pod)) facts.push("Somebody asked for the stop: podrt stop, rm, down or a replacement.");
  if (amiss.length > 0) {
    facts.push(`Amiss with ${amiss.map(({ name, reason }) => `${name} (${reason})`).join(", ")}.`);
  }
  const waiting = kept?.initContainers.find(({ sidecar, ready }) => !sidecar && !ready);
  if (kept?.phase === "Pending" && waiting !== undefined) {
    facts.push(`Its containers wait for init container ${waiting.name}.`);
  }
  const attempt = sandbox?.metadata?.attempt ?? 0;
  if (attempt > 0) facts.push(`Its sandbox was made ${attempt + 1} times.`);
  if (kept === undefined) facts.push("A kubelet or crictl made it; podrt does not restart what is in it.");
  if ((kept?.owner ?? "") !== "") facts.push(`It is of ${kept!.owner}.`);
  return facts;
}
