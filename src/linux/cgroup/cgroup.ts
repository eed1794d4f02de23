// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../../errors.ts";
import { O_DIRECTORY, O_RDONLY } from "../abi/fcntl.ts";
import { type Fd, open } from "../fd.ts";
import { cpuSettings } from "./cpu.ts";
import { type CpuStats, cpuStats, cpuUsageNs } from "./cpu-stats.ts";
import { cpusetSettings } from "./cpuset.ts";
import { createCgroup } from "./create.ts";
import type { DeviceRule } from "./device-rules.ts";
import { applyDeviceRules } from "./devices.ts";
import { exists, tryWrite, write } from "./files.ts";
import { freeze, freezerDirectory, hasFreezer, thaw } from "./freezer.ts";
import type { CgroupHost } from "./host.ts";
import { type HugetlbStats, hugetlbSettings, hugetlbStats } from "./hugetlb.ts";
import { type DeviceIo, ioStats } from "./io.ts";
import { killEverything } from "./kill.ts";
import { type CgroupLayout, devicesDirectory, layoutOf, unifiedDirectories } from "./layout.ts";
import { memorySettings } from "./memory.ts";
import { type MemoryDetails, type MemoryStats, memoryDetails, memoryStats } from "./memory-stats.ts";
import { type OutOfMemory, outOfMemory } from "./oom.ts";
import { type PidsStats, pidsSettings, pidsStats } from "./pids.ts";
import { type Pressures, pressures } from "./pressure.ts";
import { CgroupReader, type KeptFiles } from "./reader.ts";
import { type CgroupDirectories, type CgroupResources, directoryFor, type Setting } from "./resources.ts";
import { writeAllOrNone, writeAllOrNoneInBackground } from "./transaction.ts";
import { processesBelow, removeTree } from "./tree.ts";

const REMOVE_TIMEOUT_MS = 2_000;

/** What a cgroup and those below it use; undefined where the machine lacks the controller. */
export interface CgroupStats {
  readonly cpuUsageNs: bigint | undefined;
  readonly memory: MemoryStats | undefined;
}

/** Everything that the files tell; undefined where the machine lacks the controller. */
export interface CgroupDetails {
  readonly cpu: CpuStats;
  readonly memory: MemoryDetails | undefined;
  readonly pids: PidsStats | undefined;
  readonly io: readonly DeviceIo[];
  readonly hugetlb: readonly HugetlbStats[];
}

/** One control group, in as many hierarchies as the machine has. */
export interface Cgroup {
  readonly path: string;
  /** Makes it, with the parents it lacks; what is there already stays as it is. */
  create(): void;
  /** True while any directory of it is there. */
  exists(): boolean;
  /**
   * Paths of the files into which a process writes `0` to join: `tasks` of each v1 hierarchy, for which the
   * process must have one thread only (that way the kernel needs no lock over all forks). None on v2.
   */
  joinTargets(): readonly string[];
  /**
   * For CLONE_INTO_CGROUP: joins the cgroup2 hierarchy, which on v2 is all. On a hybrid machine that is
   * needed beside `joinTargets`, so that cgroup.kill reaches the process; on v1 there is none.
   */
  directoryFd(): Fd | undefined;
  /** Moves a process with all its threads into it, in the cgroup2 hierarchy alone. */
  moveHere(pid: number): void;
  /** Its directories, whether they are there or not. */
  directories(): readonly string[];
  /** What `apply` would write, without writing it. */
  settings(resources: CgroupResources): readonly Setting[];
  /** Sets limits, all of them or none; an error names the file. */
  apply(resources: CgroupResources): void;
  /**
   * Changes limits while processes are in it, all of them or none; answers what takes the change back. It
   * does not block, though the kernel may have memory to reclaim first.
   */
  update(resources: CgroupResources): Promise<() => Promise<void>>;
  applyDevices(rules: readonly DeviceRule[]): void;
  /** The processes in it and below it. */
  pids(): number[];
  /** Kills everything in it and below it; ten seconds later it gives up with the name of a survivor. */
  kill(): Promise<void>;
  /** Removes it and those below it, which must be empty of processes; nothing happens when it is gone. */
  remove(): Promise<void>;
  /** Processes of this cgroup that the kernel killed for want of memory, and why; undefined when there are none. */
  outOfMemory(): OutOfMemory | undefined;
  /** How many processes and threads there may be in it and below it; undefined for no limit of its own. */
  pidsLimit(): number | undefined;
  /** NotFoundError when it is gone; cheap enough to be asked every second. */
  stats(): CgroupStats;
  cpuUsageNs(): bigint | undefined;
  /** NotFoundError when it is gone; reads some twenty files. */
  details(): CgroupDetails;
  /** Of its processes, and on v2 of those below; undefined what the kernel or the hierarchies do not tell. */
  pressures(): Pressures;
  freeze(): Promise<void>;
  thaw(): void;
  /** Where the freezer's files are, for another program that freezes; FailedPreconditionError where there is none. */
  freezerDirectory(): string;
  /** Closes what is kept open of it. */
  close(): void;
}

/**
 * The cgroup at `path`, which is absolute in the cgroup tree (`/podrt/x`); it need not exist. The files that tell what it
 * uses stay open while `kept` allows it: who gives that closes the cgroup.
 */
export function openCgroup(host: CgroupHost, path: string, kept?: KeptFiles): Cgroup {
  const layout = layoutOf(host, path);
  const reader = new CgroupReader(layout.directories, kept);
  const { directories, listing, unified, v1 } = layout;
  const all = unified === undefined ? v1 : [...v1, unified];
  return {
    path,
    create: () => createCgroup(host, layout),
    exists: () => all.some(exists),
    joinTargets: () => v1.map((directory) => `${directory}/tasks`),
    directoryFd: () => (unified === undefined ? undefined : open(unified, O_RDONLY | O_DIRECTORY)),
    moveHere: (pid) => write(`${unified}/cgroup.procs`, String(pid)),
    directories: () => all,
    settings: (resources) => settingsOf(layout, resources),
    apply: (resources) => writeAllOrNone(settingsOf(layout, resources)),
    update: async (resources) => writeAllOrNoneInBackground(settingsOf(layout, resources)),
    applyDevices: (rules) => applyDeviceRules(devicesDirectory(layout), rules),
    pids: () => processesBelow(listing),
    kill: () => kill(host, layout),
    remove: () => remove(host, layout),
    outOfMemory: () => outOfMemory(host, path),
    pidsLimit: () => pidsStats(reader)?.limit,
    stats: () => ({ cpuUsageNs: cpuUsageNs(reader), memory: memoryStats(reader) }),
    cpuUsageNs: () => cpuUsageNs(reader),
    details: () => ({
      cpu: cpuStats(reader),
      memory: memoryDetails(reader),
      pids: pidsStats(reader),
      io: ioStats(reader),
      hugetlb: hugetlbStats(reader),
    }),
    pressures: () => pressures(reader),
    freeze: () => freeze(directories),
    thaw: () => thaw(directories),
    freezerDirectory: () => freezerDirectory(directories),
    close: () => reader.close(),
  };
}

function settingsOf({ directories }: CgroupLayout, resources: CgroupResources): Setting[] {
  return [
    ...cpusetSettings(directories, resources),
    ...cpuSettings(directories, resources),
    ...memorySettings(directories, resources),
    ...pidsSettings(directories, resources),
    ...hugetlbSettings(directories, resources),
    ...unifiedSettings(directories, resources),
  ];
}

/** Files of v2 that are named outright; the cgroup's own ones (cgroup.procs and the like) are not for that. */
function unifiedSettings(cgroup: CgroupDirectories, { unified = {} }: CgroupResources): Setting[] {
  return Object.entries(unified).map(([name, value]) => {
    const field = `unified[${JSON.stringify(name)}]`;
    const controller = /^([a-z]+)\.[A-Za-z0-9_.]{1,64}$/.exec(name)?.[1];
    if (controller === undefined || controller === "cgroup") {
      throw new InvalidArgumentError(field, "must be a file of a cgroup v2 controller, as memory.high is");
    }
    if (cgroup.version === "v1") {
      throw new InvalidArgumentError(
        field,
        "cannot be honoured: this machine's controllers are in cgroup v1",
      );
    }
    return { file: `${directoryFor(cgroup, controller, field)}/${name}`, value };
  });
}

function kill(host: CgroupHost, layout: CgroupLayout): Promise<void> {
  const { path, directories, listing } = layout;
  return killEverything({
    path,
    pids: () => processesBelow(listing),
    killAtOnce: () => {
      const errnos = unifiedDirectories(host, layout).map((directory) =>
        tryWrite(`${directory}/cgroup.kill`, "1"),
      );
      return errnos.includes(0);
    },
    thaw: () => thaw(directories),
    async freeze(timeoutMs) {
      if (!hasFreezer(directories)) return false;
      return await freeze(directories, timeoutMs).then(
        () => true,
        () => false,
      );
    },
  });
}

async function remove(host: CgroupHost, layout: CgroupLayout): Promise<void> {
  const deadline = performance.now() + REMOVE_TIMEOUT_MS;
  // Those of v1 come last, since they tell of the others.
  for (const directory of [...unifiedDirectories(host, layout), ...layout.v1]) {
    await removeTree(directory, deadline);
  }
}
