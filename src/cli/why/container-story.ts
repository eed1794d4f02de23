// SPDX-License-Identifier: Apache-2.0
import type { Container as KeptContainer } from "../../gen/podrt/v1/podrt_pb.ts";
import { ContainerState, type ContainerStatus } from "../../gen/runtime/v1/api_pb.ts";
import type { Timing } from "../../telemetry/stopwatch.ts";
import { exitInWords } from "./exit-words.ts";
import { failedStep, likelyCause } from "./likely-cause.ts";
import { moments, requestedStop, type Story } from "./story.ts";

/** What is known of a container when its story is told. */
export interface ContainerFacts {
  /** As in `demo/app1`. */
  readonly name: string;
  /** What podrt that keeps the pod says of it; undefined in a pod of a kubelet's or crictl's. */
  readonly kept: KeptContainer | undefined;
  /** Undefined while no container exists. */
  readonly status: ContainerStatus | undefined;
  /** The attempt before, where that is still there. */
  readonly before: ContainerStatus | undefined;
  /** The object behind `info` of the verbose status. */
  readonly info: {
    readonly pid?: number;
    readonly outOfMemory?: string;
    readonly removing?: boolean;
    readonly timings?: readonly Timing[];
  };
  /** Set once somebody stopped its sandbox, in words. */
  readonly sandboxEnd: string;
  /** Whether its pod is stopping or has been stopped on request. */
  readonly isPodEnding: boolean;
  /** The last lines of its newest log. */
  readonly log: readonly string[];
}

const STATES: Readonly<Record<number, string>> = {
  [ContainerState.CONTAINER_CREATED]: "Created",
  [ContainerState.CONTAINER_RUNNING]: "Running",
  [ContainerState.CONTAINER_EXITED]: "Exited",
  [ContainerState.CONTAINER_UNKNOWN]: "Unknown",
};

export function containerStory(known: ContainerFacts): Story {
  const { kept, status, info } = known;
  const isRunning = status?.state === ContainerState.CONTAINER_RUNNING;
  const ended = endedOf(known);
  const reason = kept?.reason || (isRunning ? "" : ended?.reason) || "";
  const message = [kept?.message ?? "", ended?.message ?? ""].find((text) => text !== "") ?? "";
  const hasEnded = ended !== undefined && !isRunning;
  const isWell = isRunning
    ? (kept?.ready ?? true) && (kept?.message ?? "") === ""
    : (hasEnded && ended.exitCode === 0 && kept?.state !== "waiting") ||
      (kept?.state === "waiting" && reason === "");
  // What befell it last explains more than the word for waiting.
  const cause = isWell
    ? undefined
    : likelyCause({
        reason: kept?.reason === "CrashLoopBackOff" ? (ended?.reason ?? reason) : reason,
        message: [message, ended?.message ?? ""].join("\n").trim(),
        ...(hasEnded ? { exitCode: ended.exitCode } : {}),
      });
  const step = isWell ? undefined : (failedStep(message) ?? failedStep(ended?.message ?? ""));
  return {
    kind: "container",
    name: known.name,
    id: status?.id ?? "",
    state: isRunning ? (isWell ? "Running" : "Running, not ready") : reason || stateOf(known),
    isWell,
    facts: factsOf(known, ended, isWell),
    ...(step === undefined ? {} : { failedStep: step }),
    ...(cause === undefined ? {} : { likely: cause }),
    ...nextTry(kept),
    times: timesOf(known),
    operations: info.timings ?? [],
    log: isWell && isRunning ? [] : known.log,
    ...(info.removing ? { state: "Removing" } : {}),
  };
}

export function nextTry(
  kept: { readonly nextTryAtMs: bigint } | undefined,
): { nextTryAt: string } | Record<never, never> {
  const atMs = Number(kept?.nextTryAtMs ?? 0n);
  return atMs === 0 ? {} : { nextTryAt: new Date(atMs).toISOString() };
}

interface Ended {
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
}

/** How it ended last. */
function endedOf({ status, before, kept }: ContainerFacts): Ended | undefined {
  const exited = [status, before].find((one) => one?.state === ContainerState.CONTAINER_EXITED);
  if (exited !== undefined) return exited;
  const isRemembered =
    kept !== undefined && status === undefined && (kept.restarts > 0 || kept.exitCode !== 0);
  return isRemembered ? { exitCode: kept.exitCode, reason: kept.reason, message: kept.message } : undefined;
}

function stateOf({ status, kept }: ContainerFacts): string {
  if (status !== undefined) return STATES[status.state] ?? "Unknown";
  return kept?.state === "waiting" ? "Waiting" : "Gone";
}

function factsOf(known: ContainerFacts, ended: Ended | undefined, isWell: boolean): string[] {
  const { kept, status, info, sandboxEnd, isPodEnding } = known;
  const facts: string[] = [];
  const isRunning = status?.state === ContainerState.CONTAINER_RUNNING;
  if ((kept?.message ?? "") !== "") facts.push(kept!.message);
  if (isRunning && !isWell && (kept?.message ?? "") === "") {
    facts.push("It runs, but its startup or readiness probe has not succeeded: nothing is sent to it yet.");
    if ((kept?.probeFailure ?? "") !== "") facts.push(`${sentence(kept!.probeFailure)}.`);
  }
  if (ended !== undefined) {
    if (ended.reason === "StartError") facts.push("It was never started.");
    else facts.push(`${isRunning ? "The attempt before" : "It"} ended with ${exitInWords(ended.exitCode)}.`);
    if (ended.message !== "" && !facts.some((fact) => fact.includes(ended.message)))
      facts.push(ended.message);
  }
  if (info.outOfMemory !== undefined && !facts.some((fact) => fact.includes(info.outOfMemory!))) {
    facts.push(`Memory: ${info.outOfMemory}.`);
  }
  const stop = requestedStop(info.timings ?? []);
  if (!isRunning && isPodEnding)
    facts.push("Somebody asked for the stop: podrt stop, rm, down or a replacement.");
  else if (!isRunning && stop !== undefined) facts.push(stop);
  else if (!isRunning && sandboxEnd !== "") facts.push(`Its pod's sandbox ended: ${sandboxEnd}.`);
  if ((kept?.restarts ?? 0) > 0) {
    facts.push(`It was restarted ${kept!.restarts === 1 ? "once" : `${kept!.restarts} times`}.`);
  }
  if (isRunning && (info.pid ?? 0) > 0) facts.push(`Its first process is ${info.pid} on this machine.`);
  return facts;
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

function timesOf({ status, before }: ContainerFacts): Story["times"] {
  const of = (one: ContainerStatus | undefined, which: string) =>
    one === undefined
      ? []
      : ([
          [`${which}created`, one.createdAt],
          [`${which}started`, one.startedAt],
          [one.reason === "StartError" ? `${which}could not be started` : `${which}ended`, one.finishedAt],
        ] as const);
  return moments([...of(before, "the attempt before: "), ...of(status, "")]);
}
