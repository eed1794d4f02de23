// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { specOf } from "../container/records.ts";
import { type Runtime, snapshotOf } from "../container/runtime.ts";
import { type Cgroup, openCgroup } from "../linux/cgroup/cgroup.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { captureDirectories } from "./archive-pool.ts";
import type { ArchiveMember } from "./archive-writer.ts";
import { dumpContainer } from "./dump.ts";
import { describeContainer } from "./metadata.ts";

/*
 * A checkpoint of one container is a tar, laid out as CRI-O's and Podman's:
 *
 *   checkpoint/       criu's images
 *   rootfs-diff.tar   what the container has written to its root, as a layer with its deletions
 *   config.dump       which container and image it was (podrt's metadata is in here too)
 *   spec.dump         how it was launched, an OCI runtime configuration
 *   dump.log          what criu said
 */

export interface Capture {
  /** Path of criu. */
  readonly criu: string;
  readonly signal: AbortSignal;
}

/** Runs `work` while no process of the containers runs; they go on afterwards, whatever came of it. */
export async function whileFrozen<T>(
  runtime: Runtime,
  records: readonly ContainerRecord[],
  work: () => Promise<T>,
): Promise<T> {
  const frozen: Cgroup[] = [];
  try {
    for (const record of records) {
      const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
      frozen.push(cgroup);
      await cgroup.freeze();
    }
    return await work();
  } finally {
    for (const cgroup of frozen) thaw(runtime, cgroup);
  }
}

/** Lets a container go on; one that has ended meanwhile has no cgroup any more. */
export function thaw(runtime: Runtime, cgroup: Cgroup): void {
  try {
    if (cgroup.exists()) cgroup.thaw();
  } catch (err) {
    runtime.log.error({ err, cgroup: cgroup.path }, "a cgroup could not be thawed");
  }
}

/**
 * Writes everything of a frozen container's checkpoint to files in `directory`, which it makes; answers
 * the members of the archive to be made of them.
 */
export async function captureContainer(
  runtime: Runtime,
  record: ContainerRecord,
  directory: string,
  { criu, signal }: Capture,
): Promise<ArchiveMember[]> {
  const { upperDir, commonDir } = snapshotOf(runtime, record);
  mkdirSync(directory, { mode: 0o700 });
  const imagesDir = join(directory, "checkpoint");
  const stdio = await dumpContainer(runtime, record, {
    program: criu,
    workDir: directory,
    imagesDir,
    signal,
  });
  // All that is above the image: who restores it needs the mount points too.
  const written = commonDir === undefined ? [upperDir] : [upperDir, commonDir];
  await captureDirectories(written, join(directory, "rootfs-diff.tar"), signal);
  const documents = [
    ["config.dump", describeContainer(record, stdio)],
    ["spec.dump", specOf(record)],
  ] as const;
  for (const [name, document] of documents) {
    writeFileSync(join(directory, name), JSON.stringify(document), { mode: 0o600 });
  }
  const files = [...documents.map(([name]) => name), "dump.log", "stats-dump", "rootfs-diff.tar"];
  return [
    ...files.map((name) => ({ name, file: join(directory, name) })),
    { name: "checkpoint/", file: imagesDir },
    ...readdirSync(imagesDir).map((name) => ({ name: `checkpoint/${name}`, file: join(imagesDir, name) })),
  ];
}
