// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { findExecutable, isExecutable } from "../lib/executable.ts";
import { CRIU_DIRECTORIES, criuError, runCriu } from "./criu-run.ts";
import { newWorkDir } from "./work-dir.ts";

const CHECK_TIMEOUT_MS = 30_000;

/** By path: the file that was last found to work. */
const checked = new Map<string, string>();

/** The path of a criu that works on this machine; FailedPreconditionError says why there is none. */
export async function findCriu(runtime: Runtime): Promise<string> {
  const { criu } = runtime.config.checkpoint;
  const program = criu === undefined ? findExecutable(CRIU_DIRECTORIES, "criu") : [criu].find(isExecutable);
  if (program === undefined) {
    const problem =
      criu === undefined
        ? `it is not installed in any of ${CRIU_DIRECTORIES.join(", ")}: install it, or set checkpoint.criu`
        : `checkpoint.criu is ${criu}, where no executable file is: install it there`;
    throw new FailedPreconditionError(`containers are checkpointed and restored by criu, and ${problem}`);
  }
  const { mtimeMs, ino, size } = statSync(program);
  const version = `${ino} ${size} ${mtimeMs}`;
  if (checked.get(program) === version) return program;
  await check(runtime, program);
  checked.set(program, version);
  return program;
}

/** Whether this kernel lets it work is known to criu itself. */
async function check(runtime: Runtime, program: string): Promise<void> {
  await using workDir = newWorkDir(runtime);
  const refuse = (problem: string) =>
    new FailedPreconditionError(
      `${program}, which checkpoints and restores containers, cannot be used: ${problem}`,
    );
  const status = await runCriu({
    program,
    arguments: ["check", "--no-default-config", "-v1"],
    workDir: workDir.path,
    join: [],
    signal: AbortSignal.timeout(CHECK_TIMEOUT_MS),
  }).catch((error: unknown) => {
    throw refuse(messageOf(error));
  });
  if (status !== 0) throw refuse(`criu check says: ${criuError(join(workDir.path, "output"))}`);
}
