// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import { instanceOf, tieTo } from "./leftovers.ts";
import { allPids, isAlive } from "./proc.ts";

/**
 * What a reboot does to an instance: processes, run directory, mounts, cgroups, links and rules go, /var stays.
 * `whileDown` is what happens to the disk meanwhile, `pids` are processes of pods whose cgroups are not podrt's.
 */
export async function reboot(
  daemon: Daemon,
  {
    pids: named = [],
    whileDown = async () => {},
  }: { readonly pids?: readonly number[]; readonly whileDown?: () => Promise<void> } = {},
): Promise<void> {
  await daemon.kill();
  const found = allPids().filter((pid) => pid !== process.pid && isOf(daemon.root, pid));
  const pids = [...new Set([...found, ...named.filter(isAlive)])];
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await eventually("the pods' processes have ended", () => pids.every((pid) => !isAlive(pid)));
  const podsDir = join(daemon.root, "run/pods");
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const point = line.split(" ")[4] ?? "";
    if (point.startsWith(podsDir)) await runCommand("umount", ["-l", point]);
  }
  await whileDown();
  rmSync(join(daemon.root, "run"), { recursive: true });
  const instance = instanceOf(daemon.root);
  await runCommand("ip", ["link", "delete", `prt${instance}`]);
  await runCommand("nft", ["delete", "table", "ip", `podrt_${instance}`]);
  await runCommand("sh", [
    "-c",
    `find /sys/fs/cgroup -depth -type d -path '*podrt-${instance}*' -exec rmdir {} +`,
  ]);
  const database = new Database(join(daemon.root, "lib/podrt.db"));
  database.run("UPDATE sandboxes SET record = json_set(record, '$.bootId', 'of-an-earlier-boot')");
  database.close();
  await daemon.start();
}

/** Another instance's process that is being launched may see a mount of this one's: it is not ours to end. */
function isOf(root: string, pid: number): boolean {
  const tie = tieTo(pid, root);
  return isAlive(pid) && tie !== undefined && !tie.startsWith("sees the mount");
}
