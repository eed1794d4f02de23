// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { holdStdio, type LaunchStdio } from "../launch/container-program.ts";
import { startRecord } from "../launch/fork.ts";
import { MONITOR_FD, type Monitor } from "../launch/monitor.ts";
import { newPassedFds } from "../launch/passed-fds.ts";
import { newProgram } from "../launch/program.ts";
import { identify, type ProcessIdentity } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { launchTag } from "./records.ts";

/**
 * Writes the start record of a container's first process that another program has made: a child of the monitor's that
 * does not run yet. `held` is what the monitor is to keep of its stdio from now on.
 */
export async function adoptProcess(
  monitor: Monitor,
  record: ContainerRecord,
  pid: number,
  held?: Pick<LaunchStdio, "held" | "heldFd">,
): Promise<ProcessIdentity> {
  using passed = newPassedFds();
  for (const fd of held?.held ?? []) passed.own(fd);
  const program = newProgram(`container ${record.name}`);
  if (held !== undefined) holdStdio(program, held, passed);
  const start = program.data(startRecord(launchTag(record.id), pid));
  program.main.step("write the start record", "write", [MONITOR_FD.journal, start, start.bytes.length]);
  await monitor.launch(program, passed.fds);
  const process = identify(pid);
  if (process !== undefined) return process;
  throw new FailedPreconditionError(`container ${record.id} ended before it was started`);
}
