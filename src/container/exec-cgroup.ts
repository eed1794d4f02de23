// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import type { CgroupPlace } from "../launch/child.ts";
import { placeIn } from "../launch/child.ts";
import type { Monitor } from "../launch/monitor.ts";
import type { PassedFds } from "../launch/passed-fds.ts";
import { sleep } from "../lib/deadline.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { openSubgroup, type Subgroup, subgroupNames } from "../linux/cgroup/subgroup.ts";
import type { Fd } from "../linux/fd.ts";
import { isErrno } from "../linux/syscall.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { Runtime } from "./runtime.ts";

/*
 * Each exec is born into a child of its container's cgroup, where the machine has a cgroup2 hierarchy,
 * so that a timeout reaches also what the command has put into sessions of its own. The child's name is
 * the launch tag: a later daemon finds by it what the journal says of the exec.
 *
 * An exec that has ended may leave processes in its child, which are the container's from then on. Moving
 * them would take the kernel's lock over all forks; the child is kept instead, and looked at again when
 * later execs of the container end. It goes with the container at the latest.
 */

const NAME = /^exec-([0-9a-f]{1,14})$/;
const KILL_TIMEOUT_MS = 2000;
const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;
// A process that is ending keeps its cgroup busy for a moment; longer means that it was left to live.
const REMOVAL_PAUSES_MS = [5, 50, 500];
// Of the children kept for survivors, as many are looked at when an exec ends.
const SWEEP_LIMIT = 32;

/** The cgroup of one exec; absent on a machine without cgroup2, and where the container allows no child. */
export interface ExecCgroup {
  readonly directory: Fd;
  /** Kills all in it; false when something is still there two seconds later. */
  kill(): Promise<boolean>;
  /** The exec has ended: its cgroup goes as soon as it is empty. */
  release(): void;
}

/** Makes the cgroup of the exec with this tag; `passed` closes its directory. */
export function makeExecCgroup(
  runtime: Runtime,
  record: ContainerRecord,
  tag: number,
  passed: PassedFds,
): ExecCgroup | undefined {
  const group = openSubgroup(runtime.cgroups, record.cgroupPath, `exec-${tag.toString(16)}`);
  if (group === undefined) return undefined;
  try {
    const directory = passed.own(group.create());
    return {
      directory,
      kill: () => killAll(group),
      release: () => dissolve(runtime, record.id, group),
    };
  } catch (error) {
    if (isErrno(error, "ENOENT")) throw new FailedPreconditionError(`container ${record.id} has just ended`);
    // The container may bound the number of cgroups below its own (cgroup.max.descendants).
    if (!isErrno(error, "EAGAIN", "ENOMEM", "ENOSPC")) throw error;
    runtime.log.debug({ err: error, container: record.id }, "an exec has no cgroup of its own");
    return undefined;
  }
}

/** Where an exec is born: in the v1 cgroups of its container, and in its own or the container's in cgroup2. */
export function placeExec(
  runtime: Runtime,
  record: ContainerRecord,
  own: ExecCgroup | undefined,
  passed: PassedFds,
): CgroupPlace {
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  if (own === undefined) return placeIn(cgroup, passed);
  return { directory: own.directory, joinTargets: cgroup.joinTargets() };
}

/**
 * After a restart of the daemon: an exec that was under way has nobody left who waits for it and is
 * killed, the cgroups of those that have ended are taken up again.
 */
export function recoverExecCgroups(runtime: Runtime, monitor: Monitor, record: ContainerRecord): void {
  for (const name of subgroupNames(runtime.cgroups, record.cgroupPath)) {
    const tag = Number.parseInt(NAME.exec(name)?.[1] ?? "", 16);
    const group = openSubgroup(runtime.cgroups, record.cgroupPath, name);
    if (Number.isNaN(tag) || group === undefined) continue;
    const history = monitor.history(tag);
    if (history !== undefined && history.exit === undefined) group.kill();
    dissolve(runtime, record.id, group);
  }
}

async function killAll(group: Subgroup): Promise<boolean> {
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    group.kill();
    if (!group.isPopulated()) return true;
    if (performance.now() >= deadline) return false;
    await sleep(pauseMs);
  }
}

function dissolve(runtime: Runtime, containerId: string, group: Subgroup): void {
  const kept = runtime.live.get(containerId)?.keptExecCgroups ?? new Set<Subgroup>();
  const work = async () => {
    for (const other of [...kept].slice(0, SWEEP_LIMIT)) {
      // Put at the end, so that the next sweep looks at others.
      kept.delete(other);
      if (!other.remove()) kept.add(other);
    }
    for (const pauseMs of REMOVAL_PAUSES_MS) {
      if (group.remove()) return;
      await sleep(pauseMs);
    }
    if (!group.remove()) kept.add(group);
  };
  work().catch((err) => runtime.log.warn({ err, container: containerId }, "the cgroup of an exec is left"));
}
