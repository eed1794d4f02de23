// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import type { Runtime } from "../container/runtime.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { thaw } from "./capture.ts";
import { stopCriu } from "./criu-run.ts";
import { recoverOutputDirectory } from "./output-directory.ts";
import { recoverRestore } from "./restore-note.ts";
import { recoverRestored } from "./start-restored.ts";
import { leftWorkDirs, processesIn } from "./work-dir.ts";

/**
 * Ends what a daemon that died was about: its criu gives up, containers that it had frozen go on, and its
 * files are removed.
 */
export async function recoverCheckpoints(runtime: Runtime): Promise<void> {
  const left = leftWorkDirs(runtime);
  if (left.length === 0) return recoverRestored(runtime);
  await Promise.all(processesIn(left).map(stopCriu));
  for (const record of runtime.containers.list())
    thaw(runtime, openCgroup(runtime.cgroups, record.cgroupPath));
  for (const path of left) {
    recoverOutputDirectory(path);
    recoverRestore(runtime, path);
    rmSync(path, { recursive: true, force: true });
  }
  await recoverRestored(runtime);
}
