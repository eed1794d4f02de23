// SPDX-License-Identifier: Apache-2.0
import { statfs } from "node:fs/promises";
import type { Runtime } from "../container/runtime.ts";
import { NotFoundError } from "../errors.ts";
import { TimeSlice } from "../lib/time-slice.ts";
import { hasPressure } from "../linux/cgroup/pressure.ts";
import { deviceOf } from "../linux/filesystem.ts";
import { type InterfaceCounters, interfacesOf } from "../linux/net-dev.ts";
import { countOpenFiles, type OpenFiles } from "../linux/open-files.ts";
import { type SoftLimit, softLimitsOf } from "../linux/process-limits.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { type Aged, AgedCache } from "./aged-cache.ts";
import { CgroupSamples } from "./cgroup-samples.ts";
import { ProcessDirectories } from "./process-directories.ts";
import { WritableLayers } from "./writable-layers.ts";

/** The file system on which the writable layers are. */
export interface FilesystemSpace {
  /** `/dev/vda1`. */
  readonly device: string;
  readonly limitBytes: number;
  readonly inodes: number;
  readonly freeInodes: number;
}

/** What reads the machine, and keeps what it has read for as long as that is worth something. */
export interface Instruments {
  readonly cgroups: CgroupSamples;
  readonly layers: WritableLayers;
  /** Where the writable layers are, as ImageFsInfo names it. */
  readonly mountpoint: string;
  readonly hasPressure: boolean;
  /** The interfaces of a sandbox with a network of its own, but the loopback; NotFoundError when it has ended. */
  interfaces(sandbox: SandboxRecord): Aged<InterfaceCounters[]>;
  /** Of its first process. */
  softLimits(container: ContainerRecord): readonly SoftLimit[];
  openFiles(container: ContainerRecord): Promise<Aged<OpenFiles>>;
  filesystem(): Promise<FilesystemSpace>;
  /** Somebody looks: the files that are open stay so for another while. */
  keepOpen(): void;
  /** Drops what is kept of a container or sandbox. */
  forget(id: string): void;
  /** Drops what is kept of all that are not there: a call that was under way may have looked once more. */
  forgetAllBut(isThere: (id: string) => boolean): void;
}

/**
 * Descriptors in all that are kept open between looks, of 4.4 KB each in the kernel: enough for the short statistics of
 * 110 pods, which is what a kubelet has, with two containers each and at most nine files for each cgroup. What is beyond
 * them, as metrics are, is opened and closed each time.
 */
const MOST_KEPT_FILES = 3200;
const INTERFACES_MAX_AGE_MS = 250;
const FILESYSTEM_MAX_AGE_MS = 1000;
/** Counting goes through every descriptor of every process. */
const OPEN_FILES_MAX_AGE_MS = 5000;
const OPEN_FILES_BOUNDS = { processes: 4096, links: 4096 };

/** What is open stays so for `keepOpenMs` after somebody has looked. */
export function openInstruments(runtime: Runtime, keepOpenMs = 60_000): Instruments {
  const { containersDir, stateDir } = runtime.paths;
  const withPressure = hasPressure();
  const kept = { left: MOST_KEPT_FILES };
  const cgroups = new CgroupSamples(runtime.cgroups, withPressure, kept);
  const processes = new ProcessDirectories(kept);
  const layers = new WritableLayers(runtime.snapshotter, runtime.log);
  const interfaces = new AgedCache<InterfaceCounters[]>(INTERFACES_MAX_AGE_MS);
  const openFiles = new AgedCache<Promise<OpenFiles>>(OPEN_FILES_MAX_AGE_MS);
  const filesystem = new AgedCache<Promise<FilesystemSpace>>(FILESYSTEM_MAX_AGE_MS);

  async function count(record: ContainerRecord): Promise<OpenFiles> {
    const slice = new TimeSlice();
    let sum: OpenFiles = { descriptors: 0, sockets: 0 };
    for (sum of countOpenFiles(cgroups.pids(record.id, record.cgroupPath), OPEN_FILES_BOUNDS)) {
      await slice.next();
    }
    return sum;
  }

  const closing = setTimeout(() => {
    for (const instrument of [cgroups, processes]) instrument.close();
  }, keepOpenMs).unref();
  const byId = [cgroups, processes, layers, interfaces, openFiles];
  const forget = (id: string) => {
    for (const instrument of byId) instrument.forget(id);
  };

  return {
    cgroups,
    layers,
    mountpoint: stateDir,
    hasPressure: withPressure,
    interfaces: (sandbox) => interfaces.get(sandbox.id, () => podInterfaces(processes, sandbox)),
    softLimits: ({ id, process }) => (process && processes.read(id, process, softLimitsOf)) ?? [],
    async openFiles(record) {
      const { value, ...aged } = openFiles.get(record.id, () => count(record));
      try {
        return { value: await value, ...aged };
      } catch (error) {
        openFiles.forget(record.id);
        throw error;
      }
    },
    filesystem: () => filesystem.get("", () => spaceOf(containersDir)).value,
    keepOpen: () => void closing.refresh(),
    forget,
    forgetAllBut(isThere) {
      for (const id of byId.flatMap((instrument) => [...instrument.keys()])) if (!isThere(id)) forget(id);
    },
  };
}

function podInterfaces(processes: ProcessDirectories, { id, pause }: SandboxRecord): InterfaceCounters[] {
  const found = pause && processes.read(id, pause, interfacesOf);
  if (found === undefined) throw new NotFoundError(`sandbox ${id} has ended`);
  return found.filter(({ name }) => name !== "lo");
}

async function spaceOf(directory: string): Promise<FilesystemSpace> {
  const { blocks, bsize, files, ffree } = await statfs(directory);
  return { device: deviceOf(directory), limitBytes: blocks * bsize, inodes: files, freeInodes: ffree };
}
