// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FailedPreconditionError } from "../../errors.ts";
import type { Monitor } from "../../launch/monitor.ts";
import { ociProgram } from "../../launch/oci-program.ts";
import type { PassedFds } from "../../launch/passed-fds.ts";
import type { Program } from "../../launch/program.ts";
import { O_RDWR } from "../../linux/abi/fcntl.ts";
import { type Fd, open } from "../../linux/fd.ts";
import type { ContainerRecord } from "../../state/containers.ts";
import { specOf } from "../records.ts";
import type { Runtime } from "../runtime.ts";
import { execProcess } from "./bundle.ts";
import { hiddenCgroups, ociArguments } from "./command.ts";
import { bundleOf, hasOciHandler, ociHandler } from "./handler.ts";

/** What to execute in a running container, and as which launch. */
export interface OciExec {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly tag: number;
  readonly stdio: readonly [Fd | undefined, Fd, Fd];
  /** The cgroup2 directory that it is to be in, where the runtime does not see that hierarchy. */
  readonly cgroup: { readonly directory: Fd } | undefined;
}

/**
 * Compiles an exec by an OCI runtime, which stays as the parent of what it executes and ends with its exit code. Its
 * terminal is in front of the one that the runtime makes inside.
 */
export function ociExec(
  { runtime, monitor, record }: { runtime: Runtime; monitor: Monitor; record: ContainerRecord },
  { command, tty, tag, stdio, cgroup }: OciExec,
  passed: PassedFds,
): Program {
  const sandbox = runtime.sandboxes.get(record.sandboxId);
  const handler = sandbox && ociHandler(runtime, sandbox);
  if (handler === undefined || !monitor.isAlive()) {
    throw new FailedPreconditionError(`container ${record.id} has no OCI runtime to execute something in it`);
  }
  const bundle = bundleOf(runtime, record);
  mkdirSync(bundle, { recursive: true, mode: 0o700 });
  const process = processFile(runtime, record, tag);
  const [stdin = passed.own(open("/dev/null", O_RDWR)), stdout, stderr] = stdio;
  writeFileSync(process, JSON.stringify(execProcess(specOf(record).process, command, tty)), { mode: 0o600 });
  return ociProgram(
    {
      label: `${handler.name} exec in container ${record.name}`,
      tag,
      command: [...ociArguments({ runtime, record, handler }), "exec", "--process", process, record.id],
      bundle,
      cgroup: { joinTargets: [], directory: cgroup?.directory },
      stdio: [stdin, stdout, stderr],
      terminal: tty,
      stage: runtime.paths.rootMountPoint,
      hiddenCgroups: hiddenCgroups(runtime),
    },
    passed,
  );
}

/** Removes what the runtime read to execute something that has ended; fine where there is nothing. */
export function removeOciExec(runtime: Runtime, record: ContainerRecord, tag: number): void {
  if (hasOciHandler(runtime, record)) rmSync(processFile(runtime, record, tag), { force: true });
}

function processFile(runtime: Runtime, record: ContainerRecord, tag: number): string {
  return join(bundleOf(runtime, record), `exec-${tag.toString(16)}.json`);
}
