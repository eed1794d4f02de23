// SPDX-License-Identifier: Apache-2.0
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Pod, type PodHome, podLogsDir } from "./pod.ts";

/** As the kubelet does unless told otherwise: so large a log is set aside, and so many are kept in all. */
const ROTATE_BYTES = 10 * 1024 * 1024;
const KEPT_FILES = 5;

export interface RotationRequest {
  readonly pod: Pod;
  readonly home: Pick<PodHome, "stateDir">;
  readonly container: { readonly id: string; readonly name: string; readonly attempt: number };
  readonly nowMs: number;
  /** Makes the runtime go on in a new file under the same name. */
  readonly reopen: (containerId: string) => Promise<void>;
}

/** Sets the log of a running container aside when it has grown large, and deletes the oldest such parts. */
export async function rotateLog({ pod, home, container, nowMs, reopen }: RotationRequest): Promise<void> {
  const path = join(podLogsDir(home, pod), container.name, `${container.attempt}.log`);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.size < ROTATE_BYTES) return;
  const aside = `${path}.${new Date(nowMs).toISOString().replace(/[-:.]/g, "")}`;
  await rename(path, aside);
  try {
    await reopen(container.id);
  } catch {
    // It has just ended: its log is to be found under its own name.
    await rename(aside, path);
    return;
  }
  const prefix = `${basename(path)}.`;
  const parts = (await readdir(dirname(path))).filter((file) => file.startsWith(prefix)).toSorted();
  for (const part of parts.slice(0, -(KEPT_FILES - 1))) await rm(join(dirname(path), part), { force: true });
}
