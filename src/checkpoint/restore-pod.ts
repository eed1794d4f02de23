// SPDX-License-Identifier: Apache-2.0
import { renameSync } from "node:fs";
import { join } from "node:path";
import { createContainer } from "../container/create.ts";
import { OWN_HANDLERS } from "../container/oci/handler.ts";
import type { Runtime } from "../container/runtime.ts";
import { AlreadyExistsError, FailedPreconditionError, UnimplementedError } from "../errors.ts";
import { type ContainerConfig, NamespaceMode, type PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import { Cleanup } from "../lib/cleanup.ts";
import { podDir } from "../paths.ts";
import { removeSandbox } from "../sandbox/remove.ts";
import { runSandbox } from "../sandbox/run.ts";
import { stopSandbox } from "../sandbox/stop.ts";
import { fillDirectory } from "./archive-pool.ts";
import { findCriu } from "./criu.ts";
import type { OpenedCheckpoint } from "./open-checkpoint.ts";
import { restoreDir } from "./restore-launch.ts";
import { noteRestore, noteRestored } from "./restore-note.ts";

/** What the new pod is to be, checked as requests for pods and containers are. */
export interface RestoreRequest {
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  /** One for each container of the checkpoint, in its order. */
  readonly containerConfigs: readonly ContainerConfig[];
}

export interface RestoredPod {
  readonly sandboxId: string;
  readonly containers: readonly { readonly name: string; readonly containerId: string }[];
}

/**
 * Makes a sandbox, and in it the containers of a checkpoint, which StartContainer will restore. On failure all
 * of it is undone.
 */
export async function restorePod(
  runtime: Runtime,
  checkpoint: OpenedCheckpoint,
  { config, runtimeHandler, containerConfigs }: RestoreRequest,
  signal: AbortSignal,
): Promise<RestoredPod> {
  if (!OWN_HANDLERS.includes(runtimeHandler)) {
    throw new UnimplementedError("runtime_handler: podrt restores pods with its own runtime handler only");
  }
  checkRestorable(config, containerConfigs);
  await findCriu(runtime);
  const { name = "", namespace = "", uid = "", attempt = 0 } = config.metadata ?? {};
  const isTaken = runtime.sandboxes
    .list()
    .some(
      (other) =>
        other.name === name &&
        other.namespace === namespace &&
        other.uid === uid &&
        other.attempt === attempt,
    );
  if (isTaken) {
    throw new AlreadyExistsError(
      `sandbox ${namespace}/${name} (attempt ${attempt}) exists: remove it or raise the attempt`,
    );
  }
  noteRestore(checkpoint.workDir, { name, namespace, uid, attempt });
  await using cleanup = new Cleanup((step, err) => runtime.log.error({ err, step }, "undo failed"));
  const sandboxId = await runSandbox(runtime, config, runtimeHandler);
  cleanup.add("remove the sandbox", async () => {
    await stopSandbox(runtime, sandboxId);
    await removeSandbox(runtime, sandboxId);
  });
  if (checkpoint.sharedMemory !== undefined && ownsSharedMemory(config)) {
    await fillDirectory(
      checkpoint.sharedMemory,
      join(podDir(runtime.paths, sandboxId), "shm"),
      undefined,
      signal,
    );
  }
  const containers: RestoredPod["containers"][number][] = [];
  for (const [index, container] of checkpoint.containers.entries()) {
    const containerConfig = containerConfigs[index] as ContainerConfig;
    const containerId = await createContainer(runtime, sandboxId, containerConfig, {
      restore: container.restore,
      async fill({ upperDir, lowerDirs }) {
        await fillDirectory(container.layer, upperDir, lowerDirs, signal);
        renameSync(container.imagesDir, restoreDir(upperDir));
      },
    });
    containers.push({ name: container.name, containerId });
  }
  signal.throwIfAborted();
  cleanup.release();
  // From here on a daemon that dies leaves a pod that is whole.
  noteRestored(checkpoint.workDir);
  return { sandboxId, containers };
}

/** What `checkDumpable` refuses of a running container, and what only a new configuration could ask for. */
function checkRestorable(sandbox: PodSandboxConfig, configs: readonly ContainerConfig[]): void {
  const options = sandbox.linux?.securityContext?.namespaceOptions;
  if (options?.usernsOptions?.mode === NamespaceMode.POD) {
    throw new UnimplementedError("a pod with a user namespace (userns_options) cannot be restored by podrt");
  }
  for (const config of configs) {
    const label = `container ${config.metadata?.name}`;
    if (config.tty)
      throw new UnimplementedError(`${label} with a terminal (tty) cannot be restored by podrt`);
    const pid = config.linux?.securityContext?.namespaceOptions?.pid;
    if (pid !== NamespaceMode.CONTAINER) {
      throw new UnimplementedError(
        `${label} in a shared process namespace (namespace_options.pid) cannot be restored by podrt`,
      );
    }
    if (config.CDIDevices.length > 0) {
      throw new FailedPreconditionError(`${label} has CDI devices, whose state no checkpoint has`);
    }
  }
}

function ownsSharedMemory(config: PodSandboxConfig): boolean {
  return config.linux?.securityContext?.namespaceOptions?.ipc !== NamespaceMode.NODE;
}
