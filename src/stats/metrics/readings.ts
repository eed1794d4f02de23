// SPDX-License-Identifier: Apache-2.0
import type { CgroupDetails } from "../../linux/cgroup/cgroup.ts";
import type { Pressures } from "../../linux/cgroup/pressure.ts";
import type { OpenFiles } from "../../linux/open-files.ts";
import type { SoftLimit } from "../../linux/process-limits.ts";
import type { FilesystemSpace } from "../instruments.ts";
import type { LayerUsage } from "../writable-layers.ts";
import type { Sample } from "./family.ts";

/** A value and when it was read; no time when that was for this very call. */
export interface Read<T> {
  readonly value: T;
  readonly atNs: bigint | undefined;
}

/** What the metrics of one container are made of. */
export interface ContainerReadings {
  readonly cgroup: Read<CgroupDetails>;
  readonly pressures: Pressures;
  readonly processes: Read<number>;
  readonly openFiles: Read<OpenFiles>;
  readonly softLimits: readonly SoftLimit[];
  readonly filesystem: FilesystemSpace;
  /** Undefined until it has been measured. */
  readonly layer: LayerUsage | undefined;
  readonly startedAtSeconds: bigint;
  readonly seenAtSeconds: bigint;
}

/** A number of the cgroup's details, with their time. */
export function detail(pick: (details: CgroupDetails) => number | bigint | undefined) {
  return ({ cgroup }: ContainerReadings): readonly Sample[] => [
    { value: pick(cgroup.value), atNs: cgroup.atNs },
  ];
}

/** Whole seconds. */
export function seconds(ns: bigint | undefined): bigint | undefined {
  return ns === undefined ? undefined : ns / 1_000_000_000n;
}
