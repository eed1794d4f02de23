// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { DeadlineExceededError } from "../../errors.ts";
import { sleep } from "../../lib/deadline.ts";
import { SIGNAL } from "../abi/signal.ts";
import { identify, signal } from "../process.ts";

const KILL_TIMEOUT_MS = 10_000;
const FREEZE_TIMEOUT_MS = 200;
const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/** What killing needs of a cgroup. */
export interface Killable {
  readonly path: string;
  /** Processes in it and below. */
  pids(): number[];
  /** Kills everything at once, forks under way included (cgroup.kill); false where that does not exist. */
  killAtOnce(): boolean;
  /** Stops everything, so that nothing forks away from the signals; false where that does not exist. */
  freeze(timeoutMs: number): Promise<boolean>;
  thaw(): void;
}

/**
 * SIGKILL to everything in the cgroup and below, until it is empty. Where cgroup.kill is missing, or
 * left somebody over who was never in its hierarchy, the processes are frozen, signalled one by one and
 * thawed to die.
 */
export async function killEverything(cgroup: Killable, timeoutMs = KILL_TIMEOUT_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const hasKillFile = cgroup.killAtOnce();
  let pauseMs = SHORTEST_PAUSE_MS;
  for (let round = 0; cgroup.pids().length > 0; round++) {
    if (performance.now() >= deadline) throw survivors(cgroup, timeoutMs);
    // What cgroup.kill has hit needs a moment to exit before it is worth looking for others.
    if (!hasKillFile || round >= 3) await killFrozen(cgroup);
    await sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

async function killFrozen(cgroup: Killable): Promise<void> {
  const isFreezing = await cgroup.freeze(FREEZE_TIMEOUT_MS);
  try {
    const identities = cgroup.pids().flatMap((pid) => identify(pid) ?? []);
    // A number that is listed again after its start time was read is the process that has it.
    const members = new Set(cgroup.pids());
    for (const identity of identities) {
      if (members.has(identity.pid)) signal(identity, SIGNAL.SIGKILL);
    }
  } finally {
    if (isFreezing) cgroup.thaw();
  }
}

function survivors(cgroup: Killable, timeoutMs: number): Error {
  const [pid, ...others] = cgroup.pids();
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return new DeadlineExceededError(
    `cannot empty cgroup ${cgroup.path}: ${describe(pid ?? 0)}${more} still there ${timeoutMs} ms after SIGKILL`,
  );
}

const STATES: Readonly<Record<string, string>> = {
  D: "in uninterruptible sleep (D), waiting for a device or file system",
  Z: "a zombie (Z)",
};

function describe(pid: number): string {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "unknown";
    const state = field("State");
    return `process ${pid} (${field("Name")}), ${STATES[state.charAt(0)] ?? `in state ${state}`},`;
  } catch {
    return `process ${pid}`;
  }
}
