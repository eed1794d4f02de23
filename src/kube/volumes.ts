// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { writeAtomically } from "./atomic-directory.ts";
import { prepareHostPath } from "./host-path.ts";
import { hostsText } from "./hosts.ts";
import type { VolumeSpec } from "./manifest/volume-fields.ts";
import { mountMemoryVolume, unmountMemoryVolume } from "./memory-volume.ts";
import {
  claimPath,
  emptyDirPath,
  filesVolumePath,
  hostsFile,
  type Pod,
  type PodHome,
  podFilesDir,
  podLogsDir,
} from "./pod.ts";
import { volumeFiles } from "./volume-files.ts";

/** Makes what the pod's volumes need to be there, as often as it is called. */
export async function prepareVolumes(pod: Pod, home: PodHome): Promise<void> {
  await mkdir(podFilesDir(home, pod), { recursive: true, mode: 0o755 });
  await mkdir(podLogsDir(home, pod), { recursive: true, mode: 0o755 });
  for (const volume of pod.spec.volumes ?? []) {
    try {
      await prepareVolume(pod, volume, home);
    } catch (error) {
      throw new FailedPreconditionError(`volume ${volume.name}: ${messageOf(error)}`, { cause: error });
    }
  }
}

async function prepareVolume(pod: Pod, volume: VolumeSpec, home: PodHome): Promise<void> {
  const group = pod.spec.securityContext?.fsGroup;
  const files = volumeFiles(pod, volume, home);
  if (files !== undefined) return writeAtomically(filesVolumePath(home, pod, volume.name), files, group);
  if (volume.hostPath !== undefined) return prepareHostPath(pod, volume.hostPath);
  if (volume.persistentVolumeClaim !== undefined) {
    return makeDirectory(claimPath(home, pod.namespace, volume.persistentVolumeClaim.claimName), group);
  }
  if (volume.emptyDir === undefined) return;
  const path = emptyDirPath(home, pod, volume.name);
  await makeDirectory(path, group);
  if (volume.emptyDir.medium === "Memory") mountMemoryVolume(path, volume.emptyDir.sizeLimit, group);
}

/** Writes the file that is /etc/hosts in the pod's containers. */
export async function writeHosts(pod: Pod, addresses: readonly string[], home: PodHome): Promise<void> {
  const file = hostsFile(home, pod);
  await mkdir(dirname(file), { recursive: true, mode: 0o755 });
  // In place, not renamed over: running containers have this very inode mounted.
  await writeFile(file, hostsText(pod, addresses, home.hostHosts()), { mode: 0o644 });
}

/** Deletes the pod's own files: emptyDir volumes, hosts file, logs. hostPath volumes and claims stay. */
export async function removePodFiles(pod: Pod, home: PodHome): Promise<void> {
  for (const { name, emptyDir } of pod.spec.volumes ?? []) {
    if (emptyDir?.medium === "Memory") unmountMemoryVolume(emptyDirPath(home, pod, name));
  }
  await rm(podFilesDir(home, pod), { recursive: true, force: true });
  await rm(podLogsDir(home, pod), { recursive: true, force: true });
}

/** Deletes what a container's attempts before `firstKept` have left in a directory: files named after them. */
export async function pruneAttempts(directory: string, firstKept: number): Promise<void> {
  const files = await readdir(directory).catch(() => []);
  for (const file of files) {
    const attempt = Number.parseInt(file, 10);
    if (attempt < firstKept) await rm(join(directory, file), { force: true });
  }
}

/** As a kubelet makes it: open to every user, or with fsGroup, that group's and inherited by it. */
async function makeDirectory(path: string, group: number | undefined): Promise<void> {
  if (existsSync(path)) return;
  // No claim or volume may have such a name.
  const unfinished = join(dirname(path), `.${basename(path)}.new`);
  await mkdir(unfinished, { recursive: true });
  if (group !== undefined) await chown(unfinished, 0, group);
  await chmod(unfinished, group === undefined ? 0o777 : 0o2777);
  await rename(unfinished, path);
}
