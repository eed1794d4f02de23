// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { sandboxConfig } from "../container/records.ts";
import { containersOf, nowNs, type Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import { NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import { Cleanup } from "../lib/cleanup.ts";
import { podDir } from "../paths.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import { captureDirectories, writeMembers } from "./archive-pool.ts";
import type { ArchiveMember } from "./archive-writer.ts";
import { captureContainer, whileFrozen } from "./capture.ts";
import { findCriu } from "./criu.ts";
import { checkDumpable } from "./dump.ts";
import { claimOutputDirectory, emptyOutputDirectory } from "./output-directory.ts";
import { newOutputFile } from "./output-file.ts";
import { CONTAINERS_DIRECTORY, POD_FILE, POD_VERSION, type PodDocument, SHM_FILE } from "./pod-layout.ts";
import { newWorkDir } from "./work-dir.ts";

export interface PodCheckpointRequest {
  /** Absolute path of an existing, empty directory. */
  readonly outputPath: string;
  /** Exactly the containers of the pod that run. */
  readonly containerIds: readonly string[];
}

/**
 * Writes a checkpoint of a ready pod to a directory. All its containers stand still from before the first is
 * captured until after the last, and go on whatever came of it; on failure the directory is empty again.
 */
export async function checkpointPod(
  runtime: Runtime,
  sandboxId: string,
  { outputPath, containerIds }: PodCheckpointRequest,
  signal: AbortSignal,
): Promise<void> {
  // Always in the same order, so that two calls never wait for each other.
  await holding(runtime, [...containerIds].sort(), async () => {
    const sandbox = runtime.sandboxes.get(sandboxId);
    if (sandbox === undefined) throw new NotFoundError(`sandbox ${sandboxId} does not exist`);
    if (!isReady(sandbox)) {
      throw new FailedPreconditionError(`sandbox ${sandboxId} cannot be checkpointed: it is not ready`);
    }
    const records = exactlyRunning(runtime, sandboxId, containerIds);
    for (const record of records) checkDumpable(runtime, record);
    const criu = await findCriu(runtime);
    await using workDir = newWorkDir(runtime);
    claimOutputDirectory(outputPath, workDir.path);
    await using cleanup = new Cleanup((step, err) => runtime.log.error({ err, step }, "undo failed"));
    cleanup.add("empty the output directory", () => emptyOutputDirectory(outputPath));
    const shm = sharedMemory(runtime, sandbox);
    const captured = await whileFrozen(runtime, records, async () => {
      // One may have been started while the others were being stopped.
      exactlyRunning(runtime, sandboxId, containerIds);
      const archives: ArchiveMember[][] = [];
      for (const [index, record] of records.entries()) {
        const directory = join(workDir.path, String(index));
        archives.push(await captureContainer(runtime, record, directory, { criu, signal }));
      }
      if (shm !== undefined) await captureDirectories([shm], join(outputPath, SHM_FILE), signal);
      return archives;
    });
    const containers: PodDocument["containers"][number][] = [];
    for (const [index, members] of captured.entries()) {
      const archive = `${CONTAINERS_DIRECTORY}/${index}.tar`;
      using output = newOutputFile(join(outputPath, archive), "output_path");
      await writeMembers(members, output.number, signal);
      await output.publish();
      containers.push({ name: records[index]?.name ?? "", archive });
    }
    const document: PodDocument = {
      version: POD_VERSION,
      id: sandbox.id,
      checkpointedAtNs: nowNs(),
      runtimeHandler: sandbox.runtimeHandler,
      config: sandbox.config.value,
      hasSharedMemory: shm !== undefined,
      containers,
    };
    signal.throwIfAborted();
    using output = newOutputFile(join(outputPath, POD_FILE), "output_path");
    writeFileSync(output.number, `${JSON.stringify(document, undefined, 2)}\n`);
    await output.publish();
    cleanup.release();
  });
}

function holding<T>(
  runtime: Runtime,
  [first, ...rest]: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  return first === undefined ? work() : runtime.locks.run(first, () => holding(runtime, rest, work));
}

/** The records of the containers named, which must be those that run: no more, no fewer. */
function exactlyRunning(runtime: Runtime, sandboxId: string, ids: readonly string[]): ContainerRecord[] {
  const running = containersOf(runtime, sandboxId).filter((record) => containerState(record) === "running");
  const missing = running.find(({ id }) => !ids.includes(id));
  if (missing !== undefined) {
    throw new FailedPreconditionError(
      `sandbox ${sandboxId} cannot be checkpointed: container_ids does not name its container ${missing.id} (${missing.name}), which is running`,
    );
  }
  return ids.map((id) => {
    const record = running.find((candidate) => candidate.id === id);
    if (record !== undefined) return record;
    throw new FailedPreconditionError(
      `sandbox ${sandboxId} cannot be checkpointed: container ${id} of container_ids is not one of its running containers`,
    );
  });
}

/** The pod's own shared memory; undefined where it uses the host's. */
function sharedMemory(runtime: Runtime, sandbox: SandboxRecord): string | undefined {
  const ipc = sandboxConfig(sandbox).linux?.securityContext?.namespaceOptions?.ipc;
  return ipc === NamespaceMode.NODE ? undefined : join(podDir(runtime.paths, sandbox.id), "shm");
}
