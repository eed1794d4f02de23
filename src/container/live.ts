// SPDX-License-Identifier: Apache-2.0
import type { Subgroup } from "../linux/cgroup/subgroup.ts";
import type { Fd } from "../linux/fd.ts";
import type { ContainerLog } from "./log.ts";

/** What only this daemon process has of a container; after a restart it is asked back from the monitor. */
export interface LiveContainer {
  /** The root as a detached mount, from create until start. */
  root?: Fd | undefined;
  log?: ContainerLog | undefined;
  /** pidfd of its first process, from its first exec on. */
  process?: Fd | undefined;
  /** Write end of stdin's pipe, or the terminal's master. */
  stdin?: Fd | undefined;
  terminal?: Fd | undefined;
  /** The descriptors that are read: closed when their pump is done. */
  outputs: Fd[];
  /** Settles when everything the container wrote is in its log. */
  drained: Promise<void>;
  cancelPumps: () => void;
  /** Cgroups of execs that have ended and left processes behind; container/exec-cgroup.ts. */
  readonly keptExecCgroups: Set<Subgroup>;
}

export function newLiveContainer(): LiveContainer {
  return { outputs: [], drained: Promise.resolve(), cancelPumps: () => {}, keptExecCgroups: new Set() };
}

/** Closes every descriptor; nothing of the container's own ends by it. */
export function closeLive(live: LiveContainer): void {
  live.cancelPumps();
  for (const fd of [live.root, live.process, live.stdin, live.terminal, ...live.outputs]) fd?.close();
  live.outputs = [];
  live.log?.close();
}
