// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import { instanceOf } from "./leftovers.ts";
import { isAlive } from "./proc.ts";

/** What a reboot does to an instance: processes, run directory, mounts, cgroups, links and rules go, /var stays. */
export async function reboot(daemon: Daemon, pids: readonly number[]): Promise<void> {
  await daemon.kill();
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  await eventually("the pod's processes have ended", () => pids.every((pid) => !isAlive(pid)));
  const podsDir = join(daemon.root, "run/pods");
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const point = line.split(" ")[4] ?? "";
    if (point.startsWith(podsDir)) await runCommand("umount", ["-l", point]);
  }
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
