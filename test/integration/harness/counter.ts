// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import { type ContainerConfig, runContainer, shellIn } from "./pods.ts";

/** Counts in its memory alone, and says so to its output and to a file of its root. */
export const COUNTER = "i=0; while true; do i=$((i+1)); echo $i; echo $i >/count; sleep 0.05; done";

/** A container that counts; it has begun to. */
export async function runCounter(
  daemon: Daemon,
  sandboxId: string,
  name: string,
  more: ContainerConfig = {},
): Promise<string> {
  const id = await runContainer(daemon, sandboxId, { name, command: ["sh", "-c", COUNTER], ...more });
  await eventually("it counts", async () => (await countOf(daemon, id)) > 2);
  return id;
}

export async function countOf(daemon: Daemon, id: string): Promise<number> {
  return Number(await shellIn(daemon, id, "cat /count"));
}

/** Waits until the counter has counted on. */
export async function countsOn(daemon: Daemon, id: string): Promise<void> {
  const before = await countOf(daemon, id);
  await eventually("it counts on", async () => (await countOf(daemon, id)) > before + 2);
}

/** GNU tar, which must succeed; answers its output. */
export function tar(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("tar", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`tar ${args.join(" ")}: ${stderr}`);
  return stdout;
}
