// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { isV2 } from "./cgroup-files.ts";
import { outputOf, runCommand } from "./command.ts";

/** Whether systemd is process 1 of a machine with cgroup v2 alone, as it is in `make test-vm PART=systemd`. */
export const hasSystemd = isV2 && existsSync("/run/systemd/system");

/** Properties of a unit, as systemd itself tells them. */
export async function unitProperties(
  unit: string,
  ...names: readonly string[]
): Promise<Record<string, string>> {
  const text = await outputOf("systemctl", ["show", unit, ...names.map((name) => `--property=${name}`)]);
  return Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

/** The names of all units that systemd knows and that match, whatever their state. */
export async function unitsLike(pattern: string): Promise<string[]> {
  const text = await outputOf("systemctl", ["list-units", "--all", "--plain", "--no-legend", pattern]);
  return text
    .trim()
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter(Boolean);
}

/** A slice as a kubelet makes one for a pod: a transient unit with the pod's limits. */
export async function makeSlice(
  name: string,
  { memoryMax, tasksMax }: { readonly memoryMax: number; readonly tasksMax: number },
): Promise<void> {
  const properties = [
    ...["DefaultDependencies", "b", "false"],
    ...["MemoryMax", "t", String(memoryMax)],
    ...["TasksMax", "t", String(tasksMax)],
  ];
  await outputOf("busctl", [
    ...["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"],
    ...["StartTransientUnit", "ssa(sv)a(sa(sv))", name, "replace", "3", ...properties, "0"],
  ]);
}

export async function stopUnits(...names: readonly string[]): Promise<void> {
  await runCommand("systemctl", ["stop", ...names]);
}
