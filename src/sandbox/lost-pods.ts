// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { launchTag } from "../container/records.ts";
import { containersOf, type Runtime } from "../container/runtime.ts";
import type { Monitor } from "../launch/monitor.ts";
import { findMonitor } from "../launch/monitor-process.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { cgroupOf } from "../linux/cgroup/membership.ts";
import { killAll, type ProcessIdentity, signal, waitGone } from "../linux/process.ts";
import { type Children, childrenAmong } from "../linux/process-children.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { removeTopCgroup } from "./remove.ts";

/*
 * Pods and containers whose records are lost with a damaged database still run. Nobody can stop, remove or even see
 * them any more, so they are ended at the daemon's start. They are known by what the kernel has: a pod's run directory
 * has the name that its monitor bears, its processes are the monitor's children, and those are in its cgroups.
 */

const END_TIMEOUT_MS = 10_000;

/** Ends the pods whose run directories no record owns; what else they have left is for the caller. */
export async function endLostPods(runtime: Runtime, children: Children): Promise<void> {
  for (const name of readdirSync(runtime.paths.podsDir)) {
    if (runtime.sandboxes.get(name) !== undefined) continue;
    const monitor = findMonitor(name);
    if (monitor === undefined) continue;
    const processes = childrenAmong(children, monitor);
    // One that is being launched may still be where its monitor is, among what is not the pod's.
    const outside = cgroupOf(monitor.pid);
    const cgroups = new Set(
      processes.flatMap(({ pid }) => cgroupOf(pid)).filter((path) => !outside.includes(path)),
    );
    await end(runtime, processes, cgroups);
    signal(monitor, SIGNAL.SIGKILL);
    await waitGone(monitor, END_TIMEOUT_MS);
    await removePodCgroups(runtime, cgroups);
    await removeTopCgroup(runtime);
    runtime.damage.note(`pod ${name}`, `pod ${name} was still running without a record and has been ended`);
  }
}

/** Ends the containers of a sandbox that run and that no record knows; execs are in their containers' cgroups. */
export async function endLostContainers(
  runtime: Runtime,
  sandbox: SandboxRecord,
  monitor: Monitor,
  children: Children,
): Promise<void> {
  const known = containersOf(runtime, sandbox.id);
  const ownPids = new Set([
    sandbox.pause?.pid,
    ...known.flatMap(({ id, process }) => [process?.pid, monitor.history(launchTag(id))?.pid]),
  ]);
  const ownCgroups = [sandbox.cgroupPath, ...known.map(({ cgroupPath }) => cgroupPath)];
  const isOwn = (path: string) => ownCgroups.some((own) => path === own || path.startsWith(`${own}/`));
  for (const child of childrenAmong(children, monitor.identity, ownPids)) {
    const cgroups = cgroupOf(child.pid);
    const isBelowPod = cgroups.every((path) => path.startsWith(`${dirname(sandbox.cgroupPath)}/`));
    if (cgroups.length === 0 || cgroups.some(isOwn) || !isBelowPod) continue;
    await end(runtime, [child], new Set(cgroups));
    for (const path of cgroups) await openCgroup(runtime.cgroups, path).remove();
    const sentence = `a container of pod ${sandbox.name} (process ${child.pid}) was still running without a record and has been ended`;
    runtime.damage.note(`process ${child.pid} ${child.startTicks}`, sentence);
  }
}

async function end(
  runtime: Runtime,
  processes: readonly ProcessIdentity[],
  cgroups: ReadonlySet<string>,
): Promise<void> {
  killAll(processes);
  // What they have started and left to somebody else goes by the cgroup.
  for (const path of cgroups) await openCgroup(runtime.cgroups, path).kill();
  await Promise.all(processes.map((process) => waitGone(process, END_TIMEOUT_MS)));
}

/** Where podrt chose the pod's own cgroup, that goes with all in it; else what the caller made is the caller's. */
async function removePodCgroups(runtime: Runtime, cgroups: ReadonlySet<string>): Promise<void> {
  const { parent } = runtime.config.cgroup;
  const paths = [...cgroups].map((path) => (dirname(dirname(path)) === parent ? dirname(path) : path));
  for (const path of new Set(paths)) {
    await openCgroup(runtime.cgroups, path)
      .remove()
      .catch((err) => runtime.log.warn({ err, cgroup: path }, "cgroup of a lost pod not removed"));
  }
}
