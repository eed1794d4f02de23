// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { Field } from "../gen/nri/v1alpha1/api_pb.ts";
import type { SetField } from "./fields.ts";

const NO_HOOKS = "podrt executes no program of the host's";
const NOT_V2 = "podrt sets no limit that is of cgroup v1 alone";

/** What podrt does not do for a plugin, and why. */
const REFUSED: ReadonlyMap<Field, string> = new Map([
  [Field.OciHooks, NO_HOOKS],
  [Field.MemReservation, "podrt sets it by unified, as memory.low"],
  [Field.MemKernelLimit, NOT_V2],
  [Field.MemTCPLimit, NOT_V2],
  [Field.MemSwappiness, NOT_V2],
  [Field.MemDisableOomKiller, NOT_V2],
  [Field.MemUseHierarchy, NOT_V2],
  [Field.CPURealtimeRuntime, NOT_V2],
  [Field.CPURealtimePeriod, NOT_V2],
  [Field.BlockioClass, "podrt has no classes of block I/O"],
  [Field.RdtClass, "podrt does not use resctrl"],
  [Field.CgroupsPath, "podrt keeps a container's cgroup in its pod's"],
  [Field.Namespace, "podrt gives a container the namespaces that its pod's configuration says"],
  [Field.Sysctl, "podrt sets kernel parameters for the whole pod, from the pod's configuration"],
  [Field.LinuxNetDevices, "podrt moves no network devices"],
  [Field.LinuxSched, "podrt sets no scheduling policy"],
  [Field.RdtClosID, "podrt does not use resctrl"],
  [Field.MemoryPolicy, "podrt sets no memory policy"],
]);

/** Throws for the first field that podrt does not honour, or that is in `more`, by the plugin's name and its own. */
export function refuseOthers(
  plugin: string,
  fields: readonly SetField[],
  more?: ReadonlyMap<Field, string>,
): void {
  for (const { field, path } of fields) {
    const reason = REFUSED.get(field) ?? more?.get(field);
    if (reason !== undefined) refuse(plugin, path, reason);
  }
}

/** Throws, by the plugin's name and the field's. */
export function refuse(plugin: string, path: string, reason: string): never {
  throw new FailedPreconditionError(`NRI plugin ${plugin} sets ${path}, which cannot be: ${reason}`);
}
