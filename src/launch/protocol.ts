// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

/*
 * A pod outlives the daemon that made it, so a daemon meets monitors that another version has started. What the
 * two have agreed on has one number, which a monitor bears on its command line for as long as it runs:
 *
 *   pause/README.md           the request, its reply, the address of a program, the entries of a table
 *   launch/journal.ts         the records, and the tags that name launches (container/records.ts)
 *   launch/monitor.ts         the numbers of descriptors
 *   container/stdio.ts        which descriptors are held for a container, and in what order
 *   container/batch-marker.ts the note of an unfinished batch of output
 */

/** What the monitors speak that this podrt starts. */
export const PROTOCOL = 1;
/** The oldest that it still speaks with a monitor which runs already. */
const OLDEST_PROTOCOL = 1;

const NAME = "podrt-monitor";
const WORD = /^protocol=(\d{1,9})$/;

/** argv of a monitor; `label` is whose it is. */
export function monitorArguments(label: string): readonly string[] {
  return [NAME, label, `protocol=${PROTOCOL}`];
}

/** Whether a process with this /proc/PID/cmdline calls itself the monitor of `label`. */
export function isMonitorOf(label: string, commandLine: string): boolean {
  return commandLine.startsWith(`${NAME}\0${label}\0`);
}

/** The protocol of a running monitor. The first ones did not say it: 1. */
export function protocolOf(pid: number): number {
  const word = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[2] ?? "";
  return Number(WORD.exec(word)?.[1] ?? 1);
}

/** Why this podrt cannot speak with a monitor of `protocol`; undefined when it can. */
export function foreignProtocol(protocol: number): string | undefined {
  if (protocol >= OLDEST_PROTOCOL && protocol <= PROTOCOL) return undefined;
  const known = OLDEST_PROTOCOL === PROTOCOL ? `${PROTOCOL}` : `${OLDEST_PROTOCOL} to ${PROTOCOL}`;
  const age = protocol > PROTOCOL ? "a newer" : "an older";
  return `its monitor was started by ${age} podrt and speaks protocol ${protocol}, this one speaks ${known}: start that podrt again, or stop and remove the pod`;
}
