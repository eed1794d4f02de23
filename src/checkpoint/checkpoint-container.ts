// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import type { Runtime } from "../container/runtime.ts";
import { NotFoundError } from "../errors.ts";
import { timeLimit } from "../lib/deadline.ts";
import { writeMembers } from "./archive-pool.ts";
import { captureContainer, whileFrozen } from "./capture.ts";
import { findCriu } from "./criu.ts";
import { checkDumpable } from "./dump.ts";
import { newOutputFile } from "./output-file.ts";
import { newWorkDir } from "./work-dir.ts";

const DEFAULT_TIMEOUT_MS = 600_000;

export interface CheckpointRequest {
  /** Absolute path of the archive to be made. */
  readonly location: string;
  /** 0 for ten minutes. */
  readonly timeoutMs: number;
}

/**
 * Writes a checkpoint of a running container to a tar archive, root's alone, and lets the container go on.
 * On every failure the container goes on too and no file is left; a file that was at `location` stays then.
 */
export async function checkpointContainer(
  runtime: Runtime,
  id: string,
  { location, timeoutMs }: CheckpointRequest,
  caller: AbortSignal,
): Promise<void> {
  const limitMs = timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : timeoutMs;
  using limit = timeLimit(caller, limitMs, `checkpoint of container ${id}`);
  const { signal } = limit;
  await runtime.locks.run(id, async () => {
    const record = runtime.containers.get(id);
    if (record === undefined) throw new NotFoundError(`container ${id} does not exist`);
    checkDumpable(runtime, record);
    const criu = await findCriu(runtime);
    using output = newOutputFile(location, "location");
    await using workDir = newWorkDir(runtime);
    const members = await whileFrozen(runtime, [record], () =>
      captureContainer(runtime, record, join(workDir.path, "container"), { criu, signal }),
    );
    await writeMembers(members, output.number, signal);
    signal.throwIfAborted();
    await output.publish();
  });
}
