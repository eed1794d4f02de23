// SPDX-License-Identifier: Apache-2.0
import type { PodName } from "../gen/podrt/v1/podrt_pb.ts";
import { sleep } from "../lib/deadline.ts";
import { attachTo } from "./attach.ts";
import { type Daemon, isNotFound, openDaemon } from "./client.ts";
import { ExitCode } from "./exit-code.ts";
import { type PodEntry, podTitle, takeInventory } from "./inventory.ts";
import type { Io } from "./io.ts";
import { followLogs } from "./logs/follow.ts";
import { END_LOOK_MS } from "./look.ts";
import { type PermissionOptions, permissionsOf } from "./permission-flags.ts";
import type { Context } from "./program.ts";
import { progressFormat, startedLine } from "./progress/view.ts";
import { pullAsAsked } from "./pull.ts";
import { type QuickOptions, quickPod } from "./quick-pod.ts";
import { inOptions } from "./quick-pod-mistake.ts";
import { runPods } from "./run-pods.ts";
import { troubleLine } from "./trouble-line.ts";

export interface RunImageOptions extends QuickOptions, PermissionOptions {
  readonly detach?: boolean;
  readonly rm?: boolean;
}

/** Runs a pod of one container and answers the exit code of that, as docker run does. */
export async function runImage(
  { io, socketPath, output }: Context,
  image: string,
  command: readonly string[],
  options: RunImageOptions,
): Promise<number> {
  const { manifest, permissions } = quickPod(image, command, options, io.env);
  using daemon = openDaemon(socketPath);
  const format = progressFormat(output);
  await pullAsAsked(daemon, io, image, options.pull, format, options.detach ? io.out : io.err);
  const files = [{ name: "command line", text: manifest }];
  const allow = [...permissions, ...permissionsOf(options)];
  const { pods } = await runPods(daemon, io, { files, allow }).catch(inOptions);
  const pod = pods[0]!;
  if (options.detach) {
    await io.out(`${startedLine("pod", pod, format)}\n`);
    return 0;
  }
  try {
    return await stayWith(daemon, io, pod, options.stdin === true || options.tty === true);
  } finally {
    if (options.rm) await ignoreMissing(daemon.pods.deletePod({ namespace: pod.namespace, name: pod.name }));
  }
}

/** Shows what the container writes, or joins it with this terminal, until it has ended. */
async function stayWith(daemon: Daemon, io: Io, name: PodName, isJoined: boolean): Promise<number> {
  await using follower = followLogs(daemon, io, { prefixOf: () => "", showTimes: false });
  let told = "";
  let hasJoined = false;
  for (;;) {
    const pod = await podOf(daemon, name);
    if (pod === undefined) return ExitCode.interrupted;
    const container = pod.kept?.containers[0];
    if (isJoined && !hasJoined && container?.state === "running") {
      hasJoined = true;
      const code = await attachTo(daemon, io, container.containerId);
      if (code === undefined) return 0;
    }
    // A terminal has shown it already.
    if (!hasJoined) await follower.advance(pod.containers.toReversed());
    if (pod.kept?.phase === "Succeeded" || pod.kept?.phase === "Failed") return await exitCodeOf(pod, io);
    const { reason = "", message: trouble = "" } =
      (container?.state === "waiting" && container.message !== "" ? container : pod.kept) ?? {};
    if (trouble !== "" && trouble !== told)
      await io.err(`podrt: ${troubleLine(podTitle(pod), reason, trouble)}\n`);
    told = trouble;
    if (io.interrupted.aborted) {
      await ignoreMissing(daemon.pods.stopPod({ namespace: pod.namespace, name: pod.name }));
      return ExitCode.interrupted;
    }
    await sleep(END_LOOK_MS, io.interrupted).catch(() => {});
  }
}

async function podOf(daemon: Daemon, { uid }: PodName): Promise<PodEntry | undefined> {
  return (await takeInventory(daemon)).pods.find((pod) => pod.uid === uid);
}

async function exitCodeOf({ kept, name }: PodEntry, io: Io): Promise<number> {
  if (kept?.reason) await io.err(`podrt: pod ${name} failed: ${kept.message} (${kept.reason})\n`);
  const [container] = kept?.containers ?? [];
  // It never ran, so nothing else says why.
  if (container?.reason === "StartError") await io.err(`podrt: pod ${name} failed: ${container.message}\n`);
  const code = container?.exitCode ?? 0;
  return code === 0 && kept?.phase === "Failed" ? 1 : code;
}

async function ignoreMissing(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
