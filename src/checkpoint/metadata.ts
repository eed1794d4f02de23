// SPDX-License-Identifier: Apache-2.0
import { nowNs } from "../container/runtime.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { DumpedStdio } from "./dump.ts";

/** Of the metadata that podrt writes and reads; another one is refused. */
export const METADATA_VERSION = 1;

/** The content of `config.dump`: what CRI-O's has, and under `podrt` what a restore needs. */
export function describeContainer(record: ContainerRecord, stdio: DumpedStdio): object {
  const isoTime = (ns: string) => new Date(Number(BigInt(ns) / 1_000_000n)).toISOString();
  return {
    id: record.id,
    name: record.name,
    rootfsImage: record.imageId,
    rootfsImageRef: record.imageReference,
    rootfsImageName: record.imageName,
    runtime: "podrt",
    createdTime: isoTime(record.createdAtNs),
    checkpointedTime: isoTime(nowNs()),
    restoredTime: "0001-01-01T00:00:00Z",
    restored: false,
    podrt: {
      version: METADATA_VERSION,
      attempt: record.attempt,
      config: record.config.value,
      stdio,
    },
  };
}
