// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { parentOf, procText } from "../../integration/harness/proc.ts";

/** Kills a process after a while, unless its number is another's by then: it is one that has the id somewhere. */
export async function killLater(pid: number, id: string, afterMs: number): Promise<void> {
  await sleep(afterMs);
  const texts = [
    procText(`/proc/${pid}/cmdline`),
    procText(`/proc/${pid}/cgroup`),
    procText(`/proc/${parentOf(pid)}/cmdline`),
  ];
  if (pid <= 1 || !texts.some((text) => text.includes(id))) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
