// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import { type Baseline, FORWARDING, leftovers } from "./leftovers.ts";

/** Takes away what a failed test left of an instance, so that the next test meets a clean machine. */
export async function forceAway(root: string, baseline: Baseline): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    for (const line of await leftovers(root, baseline)) {
      const [, pid = 0, why = ""] = /^process (\d+) \(.*\): (.*)/.exec(line) ?? [];
      // One that only sees a mount may be anybody's whose namespace was copied meanwhile.
      if (Number(pid) > 1 && !why.startsWith("sees the mount")) killQuietly(Number(pid));
    }
    await Bun.sleep(100);
  }
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${root}/`));
  for (const path of mounts.reverse()) await runCommand("umount", ["-l", path]);
  for (const line of await leftovers(root, baseline)) {
    const [kind, ...words] = line.split(" ");
    if (kind === "link") await runCommand("ip", ["link", "delete", words[0]!]);
    if (kind === "nftables") await runCommand("nft", ["delete", "table", words[1]!, words[2]!]);
    if (kind === "cgroup") removeGroup(words[0]!);
  }
  for (const line of await leftovers(root, baseline)) {
    for (const [name, path] of Object.entries(FORWARDING)) {
      if (line.startsWith(name)) writeFileSync(path, baseline.forwarding[name]!);
    }
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function removeGroup(dir: string): void {
  try {
    for (const name of readdirSync(dir)) {
      if (statSync(join(dir, name)).isDirectory()) removeGroup(join(dir, name));
    }
    rmdirSync(dir);
  } catch {
    // It still has a process; the leftovers that are reported say so.
  }
}
