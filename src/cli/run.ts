// SPDX-License-Identifier: Apache-2.0
import type { CallOptions } from "@connectrpc/connect";
import { DeadlineExceededError, FailedPreconditionError } from "../errors.ts";
import type { PodName } from "../gen/podrt/v1/podrt_pb.ts";
import type { Container } from "../gen/runtime/v1/api_pb.ts";
import { sleep } from "../lib/deadline.ts";
import { createGate } from "../lib/gate.ts";
import { endCronJob } from "./apply.ts";
import { type Daemon, isNotFound, openDaemon } from "./client.ts";
import { ridingOutAbsence } from "./daemon-absence.ts";
import { containerName, containersOf, type PodEntry, podTitle, takeInventory } from "./inventory.ts";
import type { Io } from "./io.ts";
import type { JoinOptions } from "./join-pod.ts";
import { followLogs, type LogFollower } from "./logs/follow.ts";
import { LOOK_MS } from "./look.ts";
import { isManifest, readManifests } from "./manifest-file.ts";
import { permissionsOf } from "./permission-flags.ts";
import { podRow } from "./pods.ts";
import type { Context } from "./program.ts";
import { type PullWatch, watchPulls } from "./progress/pull-watch.ts";
import { progressFormat, startedLine } from "./progress/view.ts";
import { type RunImageOptions, runImage } from "./run-image.ts";
import { runPods } from "./run-pods.ts";
import { type Color, painter, sourceColors } from "./table.ts";
import { troubleLine } from "./trouble-line.ts";
import { UsageError } from "./usage-error.ts";

/** Half of what may be asked by `fetch` at a time: who looks at the pods meanwhile is not to wait for their ends. */
const REMOVALS_AT_ONCE = 128;

interface Options extends RunImageOptions, JoinOptions {
  /** Seconds. */
  readonly wait?: number;
}

/** Runs manifests, or a pod of an image, or an image in a pod that is there. */
export async function run(context: Context, words: string[], options: Options): Promise<number> {
  const [first = "", ...rest] = words;
  if (options.detach && options.rm)
    throw new UsageError("--rm removes what this command has waited for; leave out --detach");
  if (await isManifest(first)) return await runManifests(context, words, options);
  if (options.wait !== undefined) throw new UsageError("--wait is for manifests");
  const command = rest[0] === "--" ? rest.slice(1) : rest;
  const joined = options.pod ?? podOfNet(options.net);
  if (joined !== undefined) {
    const { runInPod } = await import("./join-pod.ts");
    return await runInPod(context, joined, first, command, options);
  }
  return await runImage(context, first, command, options);
}

/** The pod or container named by `--net container:NAME`; a pause may be called as `podrt ps -a` lists it. */
function podOfNet(net: string | undefined): string | undefined {
  const [, name] = /^container:(.+)$/.exec(net ?? "") ?? [];
  return name?.replace(/^POD-/, "");
}

async function runManifests(
  { io, socketPath, output }: Context,
  names: readonly string[],
  options: Options,
): Promise<number> {
  if (options.wait !== undefined && !options.detach) throw new UsageError("--wait needs --detach");
  const files = await readManifests(names, io);
  using daemon = openDaemon(socketPath);
  const { pods, cronJobs } = await runPods(daemon, io, { files, allow: permissionsOf(options) });
  const format = progressFormat(output);
  await using pulls = watchPulls(daemon, io, format, options.detach ? io.out : io.err);
  if (!options.detach) return await stay(daemon, pulls, pods, cronJobs);
  for (const pod of pods) await io.out(`${startedLine("pod", pod, format)}\n`);
  for (const job of cronJobs) await io.out(`${startedLine("cronjob", job, format)}\n`);
  if (options.wait !== undefined) await waitUntilRunning(daemon, pulls, pods, options.wait);
  return 0;
}

/** Shows logs and troubles until Ctrl-C or until all pods are done, which CronJobs never are, then removes them. */
async function stay(
  daemon: Daemon,
  pulls: PullWatch,
  names: readonly PodName[],
  cronJobs: readonly PodName[],
): Promise<number> {
  const { io } = pulls;
  const paint = painter(io);
  const titles = new Map<string, string>();
  const prefixOf = (container: Container) => titles.get(container.id) ?? `${containerName(container)} | `;
  await using follower = followLogs(daemon, io, { prefixOf, showTimes: false });
  const owners = new Set(cronJobs.map(({ namespace, name }) => `${namespace}/CronJob/${name}`));
  const uids = new Set(names.map(({ uid }) => uid));
  const isOurs = ({ uid, namespace, kept }: PodEntry) =>
    uids.has(uid) || owners.has(`${namespace}/${kept?.owner}`);
  const watch = podWatch(daemon, pulls, isOurs, follower, (pod, container) => {
    const name =
      names.length === 1 && cronJobs.length === 0
        ? containerName(container)
        : `${pod.name}/${containerName(container)}`;
    titles.set(container.id, paint(`${name} | `, colorFor(name)));
  });
  let pods: readonly PodEntry[] = [];
  try {
    do {
      await sleep(LOOK_MS, io.interrupted).catch(() => {});
      pods = await watch();
    } while (!io.interrupted.aborted && (cronJobs.length > 0 || !pods.every(isDone)));
  } finally {
    for (const job of cronJobs) await endCronJob(daemon, job);
    await removeAll(daemon, io, names, watch);
  }
  const failed = pods.filter(hasFailed);
  if (io.interrupted.aborted || failed.length === 0) return 0;
  throw new FailedPreconditionError(failed.map(failureOf).join("\n"));
}

/** A function that looks at the pods once: prints what is new of their logs and of what ails them. */
function podWatch(
  daemon: Daemon,
  { io, look }: PullWatch,
  isOurs: (pod: PodEntry) => boolean,
  follower: LogFollower,
  entitle: (pod: PodEntry, container: Container) => void,
): () => Promise<PodEntry[]> {
  const told = new Map<string, string>();
  const takeStock = ridingOutAbsence(() => takeInventory(daemon));
  let last: PodEntry[] = [];
  return async () => {
    const inventory = await takeStock();
    if (inventory === undefined) return last;
    last = inventory.pods.filter(isOurs);
    for (const pod of last) {
      for (const container of pod.containers) entitle(pod, container);
      for (const [source, line] of troublesOf(pod)) {
        if (told.get(source) === line) continue;
        told.set(source, line);
        await io.err(`podrt: ${line}\n`);
      }
    }
    await follower.advance(last.flatMap(({ containers }) => containers).toReversed());
    await look(last);
    return last;
  };
}

/** What is amiss with a pod and each of its containers, by whose trouble it is. */
function troublesOf(pod: PodEntry): [source: string, line: string][] {
  const title = podTitle(pod);
  const { kept } = pod;
  if (kept === undefined) return [];
  const containers = containersOf(kept).filter(({ state, message }) => state === "waiting" && message !== "");
  return [
    ...(kept.reason === "" && kept.message === ""
      ? []
      : [[pod.uid, troubleLine(title, kept.reason, kept.message)] satisfies [string, string]]),
    ...containers.map(({ name, reason, message }): [string, string] => [
      `${pod.uid} ${name}`,
      troubleLine(`${title}/${name}`, reason, message),
    ]),
  ];
}

/** Removes the pods while their last words are shown; a second Ctrl-C kills them. */
async function removeAll(
  daemon: Daemon,
  io: Io,
  names: readonly PodName[],
  watch: () => Promise<unknown>,
): Promise<void> {
  let isGone = false;
  const removal = removePods(daemon, io.insisted, names).finally(() => {
    isGone = true;
  });
  removal.catch(() => {});
  while (!isGone) {
    await watch().catch(() => {});
    await Promise.race([removal.catch(() => {}), sleep(LOOK_MS)]);
  }
  await removal;
}

/** Once `insisted` aborts nobody waits for their ends any more: the daemon goes on with those, without their grace. */
async function removePods(daemon: Daemon, insisted: AbortSignal, names: readonly PodName[]): Promise<void> {
  const remove = async (grace: { graceSeconds?: number }, options: CallOptions = {}) => {
    const gate = createGate(REMOVALS_AT_ONCE);
    const results = await Promise.allSettled(
      names.map(({ namespace, name }) =>
        gate(() => daemon.pods.deletePod({ namespace, name, ...grace }, options)),
      ),
    );
    for (const result of results) {
      if (result.status === "rejected" && !isNotFound(result.reason)) throw result.reason;
    }
  };
  try {
    await remove({}, { signal: insisted });
  } catch (error) {
    if (!insisted.aborted) throw error;
  }
  if (insisted.aborted) await remove({ graceSeconds: 0 });
}

async function waitUntilRunning(
  daemon: Daemon,
  { io, look }: PullWatch,
  names: readonly PodName[],
  seconds: number,
): Promise<void> {
  const endMs = performance.now() + seconds * 1000;
  const uids = new Set(names.map(({ uid }) => uid));
  for (;;) {
    const pods = (await takeInventory(daemon)).pods.filter(({ uid }) => uids.has(uid));
    const failed = pods.filter(hasFailed);
    if (failed.length > 0) throw new FailedPreconditionError(failed.map(failureOf).join("\n"));
    const late = pods.filter((pod) => !isRunningWhole(pod));
    if (late.length === 0) return;
    await look(late);
    if (performance.now() >= endMs || io.interrupted.aborted) {
      const rows = await Promise.all(late.map((pod) => podRow(daemon, pod)));
      const lines = rows.map(({ name, status, message }) =>
        [name, status, message].filter(Boolean).join(": "),
      );
      throw new DeadlineExceededError(`after ${seconds} s, pod ${lines.join("\npod ")}`);
    }
    await sleep(LOOK_MS);
  }
}

function isDone({ kept }: PodEntry): boolean {
  return kept === undefined || kept.phase === "Succeeded" || kept.phase === "Failed";
}

/** A pod may fail of a Job that succeeds without it. */
function hasFailed({ kept }: PodEntry): boolean {
  return kept?.phase === "Failed" && !kept.jobSucceeded;
}

function isRunningWhole({ kept }: PodEntry): boolean {
  return kept?.containers.every(({ state }) => state === "running" || state === "terminated") ?? false;
}

function failureOf(pod: PodEntry): string {
  const { reason = "", message = "" } = pod.kept ?? {};
  if (reason !== "") return `pod ${podTitle(pod)} failed: ${message} (${reason})`;
  const containers = pod.kept === undefined ? [] : containersOf(pod.kept);
  const culprit = containers.find(({ exitCode, sidecar }) => exitCode !== 0 && !sidecar);
  const why =
    culprit === undefined ? "" : `: container ${culprit.name} ended with exit code ${culprit.exitCode}`;
  return `pod ${podTitle(pod)} failed${why}${culprit?.message ? ` (${culprit.message.trim()})` : ""}`;
}

function colorFor(name: string): Color {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.charCodeAt(0)) % 997;
  return sourceColors[sum % sourceColors.length]!;
}
