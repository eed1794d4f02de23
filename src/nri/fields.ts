// SPDX-License-Identifier: Apache-2.0
import { type ContainerAdjustment, Field, type LinuxResources } from "../gen/nri/v1alpha1/api_pb.ts";

/** One thing that a plugin sets or, where there are several of its kind, takes away. */
export interface SetField {
  readonly field: Field;
  /** As the interface's own definition names it, with what tells it from others of its kind. */
  readonly path: string;
  /** What tells it from others of its kind: the name of a variable, the destination of a mount. */
  readonly key?: string;
  readonly removes?: boolean;
}

/** A name that begins so is that of something to take away. */
const REMOVAL = "-";

export function isRemoval(name: string): boolean {
  return name.startsWith(REMOVAL);
}

/** The name of something to take away, without the mark. */
export function nameOf(name: string): string {
  return isRemoval(name) ? name.slice(REMOVAL.length) : name;
}

/** Everything that an adjustment sets, removals first: what is taken away and added anew is the plugin's own. */
export function fieldsOf(adjust: ContainerAdjustment): SetField[] {
  const { linux, hooks } = adjust;
  const programs = Object.entries(hooks ?? {}).filter(([, list]) => Array.isArray(list) && list.length > 0);
  const fields: SetField[] = [
    ...keyed(Field.Annotations, "annotations", Object.keys(adjust.annotations)),
    ...keyed(
      Field.Mounts,
      "mounts",
      adjust.mounts.map(({ destination }) => destination),
    ),
    ...keyed(
      Field.Env,
      "env",
      adjust.env.map(({ key }) => key),
    ),
    ...single(Field.Args, "args", adjust.args.length > 0),
    // An empty first argument stands for those of another plugin.
    ...(adjust.args[0] === "" ? [{ field: Field.Args, path: "args", removes: true }] : []),
    ...programs.map(([kind]) => ({ field: Field.OciHooks, path: `hooks.${kind}`, key: kind })),
    ...keyed(
      Field.Rlimits,
      "rlimits",
      adjust.rlimits.map(({ type }) => type),
    ),
    ...keyed(
      Field.CdiDevices,
      "CDI_devices",
      adjust.CDIDevices.map(({ name }) => name),
    ),
    ...keyed(
      Field.Devices,
      "linux.devices",
      (linux?.devices ?? []).map(({ path }) => path),
    ),
    ...resourceFields(linux?.resources),
    ...single(Field.CgroupsPath, "linux.cgroups_path", linux?.cgroupsPath),
    ...single(Field.OomScoreAdj, "linux.oom_score_adj", linux?.oomScoreAdj),
    ...single(Field.IoPriority, "linux.io_priority", linux?.ioPriority),
    ...single(Field.SeccompPolicy, "linux.seccomp_policy", linux?.seccompPolicy),
    ...keyed(
      Field.Namespace,
      "linux.namespaces",
      (linux?.namespaces ?? []).map(({ type }) => type),
    ),
    ...keyed(Field.Sysctl, "linux.sysctl", Object.keys(linux?.sysctl ?? {})),
    ...keyed(Field.LinuxNetDevices, "linux.net_devices", Object.keys(linux?.netDevices ?? {})),
    ...single(Field.LinuxSched, "linux.scheduler", linux?.scheduler),
    ...single(Field.RdtClosID, "linux.rdt", linux?.rdt),
    ...single(Field.MemoryPolicy, "linux.memory_policy", linux?.memoryPolicy),
  ];
  return fields.sort((a, b) => Number(b.removes ?? false) - Number(a.removes ?? false));
}

/** Everything that resources set. */
export function resourceFields(resources: LinuxResources | undefined): SetField[] {
  if (resources === undefined) return [];
  const { memory, cpu } = resources;
  const at = "linux.resources";
  return [
    ...single(Field.MemLimit, `${at}.memory.limit`, memory?.limit),
    ...single(Field.MemReservation, `${at}.memory.reservation`, memory?.reservation),
    ...single(Field.MemSwapLimit, `${at}.memory.swap`, memory?.swap),
    ...single(Field.MemKernelLimit, `${at}.memory.kernel`, memory?.kernel),
    ...single(Field.MemTCPLimit, `${at}.memory.kernel_tcp`, memory?.kernelTcp),
    ...single(Field.MemSwappiness, `${at}.memory.swappiness`, memory?.swappiness),
    ...single(Field.MemDisableOomKiller, `${at}.memory.disable_oom_killer`, memory?.disableOomKiller),
    ...single(Field.MemUseHierarchy, `${at}.memory.use_hierarchy`, memory?.useHierarchy),
    ...single(Field.CPUShares, `${at}.cpu.shares`, cpu?.shares),
    ...single(Field.CPUQuota, `${at}.cpu.quota`, cpu?.quota),
    ...single(Field.CPUPeriod, `${at}.cpu.period`, cpu?.period),
    ...single(Field.CPURealtimeRuntime, `${at}.cpu.realtime_runtime`, cpu?.realtimeRuntime),
    ...single(Field.CPURealtimePeriod, `${at}.cpu.realtime_period`, cpu?.realtimePeriod),
    ...single(Field.CPUSetCPUs, `${at}.cpu.cpus`, cpu?.cpus),
    ...single(Field.CPUSetMems, `${at}.cpu.mems`, cpu?.mems),
    ...single(Field.PidsLimit, `${at}.pids`, resources.pids),
    ...keyed(
      Field.HugepageLimits,
      `${at}.hugepage_limits`,
      resources.hugepageLimits.map(({ pageSize }) => pageSize),
    ),
    ...single(Field.BlockioClass, `${at}.blockio_class`, resources.blockioClass),
    ...single(Field.RdtClass, `${at}.rdt_class`, resources.rdtClass),
    ...keyed(Field.CgroupsUnified, `${at}.unified`, Object.keys(resources.unified)),
    // The interface has no number for them: they add up.
    ...resources.devices.map((_, index) => ({
      field: Field.None,
      path: `${at}.devices`,
      key: String(index),
    })),
  ];
}

function single(field: Field, path: string, value: unknown): SetField[] {
  return value ? [{ field, path }] : [];
}

function keyed(field: Field, path: string, names: readonly string[]): SetField[] {
  return names.map((name) => {
    const key = nameOf(name);
    return { field, path: `${path}[${key}]`, key, removes: isRemoval(name) };
  });
}
