// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from "node:fs";
import { messageOf } from "../../errors.ts";
import type { Monitor } from "../../launch/monitor.ts";
import { identify } from "../../linux/process.ts";
import { childrenOf, killTree } from "../../linux/process-tree.ts";
import type { ContainerRecord } from "../../state/containers.ts";
import type { Runtime } from "../runtime.ts";
import { runOci } from "./command.ts";
import { bundleOf, hasOciHandler, ociHandler, removeBundle } from "./handler.ts";

/**
 * Lets an OCI runtime take away what it keeps of a container that has ended or failed to start, killing what is left;
 * nothing for a container of podrt's own. What does not work is logged: the rest of the container's end does not
 * depend on it, and its bundle goes with the pod at the latest.
 */
export async function endOci(
  runtime: Runtime,
  monitor: Monitor | undefined,
  record: ContainerRecord,
): Promise<void> {
  if (!hasOciHandler(runtime, record)) return;
  try {
    const container = containerOf(runtime, monitor, record);
    if (container !== undefined) await runOci(container, "delete", "--force", record.id);
  } catch (err) {
    runtime.log.warn(
      { err, container: record.id },
      `an OCI runtime did not delete a container: ${messageOf(err)}`,
    );
  }
  removeBundle(runtime, record);
}

/**
 * Kills the commands for a container that were under way when an earlier daemon died, with what they have started:
 * nobody waits for them any more. They are those children of the monitor's that work in the bundle.
 */
export function killOciCommands(runtime: Runtime, monitor: Monitor, record: ContainerRecord): void {
  const bundle = bundleOf(runtime, record);
  for (const pid of childrenOf(monitor.identity.pid)) {
    const process = identify(pid);
    if (process !== undefined && worksIn(pid, bundle)) killTree(process);
  }
}

function worksIn(pid: number, directory: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === directory;
  } catch {
    // It has ended meanwhile.
    return false;
  }
}

/** Sends a signal to a container by its OCI runtime; false where podrt has to do it. */
export async function signalByOci(
  runtime: Runtime,
  record: ContainerRecord,
  signo: number,
): Promise<boolean> {
  if (!hasOciHandler(runtime, record)) return false;
  try {
    const container = containerOf(runtime, runtime.monitors.get(record.sandboxId), record);
    if (container === undefined) return false;
    await runOci(container, "kill", record.id, String(signo));
    return true;
  } catch (err) {
    runtime.log.warn(
      { err, container: record.id },
      `an OCI runtime did not signal a container: ${messageOf(err)}`,
    );
    return false;
  }
}

function containerOf(runtime: Runtime, monitor: Monitor | undefined, record: ContainerRecord) {
  const sandbox = runtime.sandboxes.get(record.sandboxId);
  const handler = sandbox && ociHandler(runtime, sandbox);
  if (handler === undefined || monitor === undefined || !monitor.isAlive()) return undefined;
  return { runtime, monitor, record, handler };
}
