// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { outputOf } from "../integration/harness/command.ts";

/** Takes away all mounts below a directory, the last first; what still uses one keeps it until it ends. */
export async function unmountBelow(dir: string): Promise<void> {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point.startsWith(`${dir}/`));
  for (const point of points.reverse()) await outputOf("umount", ["-l", point]);
}
