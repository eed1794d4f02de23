// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { adoptProcess } from "../container/adopt.ts";
import { exitCodeOf } from "../container/exit-code.ts";
import { openImageVolumes } from "../container/image-volume.ts";
import { openPause, type Start, type Started, takeRoot } from "../container/launch.ts";
import { containerConfig, newExecTag, specOf } from "../container/records.ts";
import { snapshotOf } from "../container/runtime.ts";
import { identityOf } from "../container/security/identity.ts";
import { logPlace, newStdio, startPumps } from "../container/stdio.ts";
import { stdioOwner } from "../container/user-namespace.ts";
import { DeadlineExceededError, FailedPreconditionError, UnimplementedError } from "../errors.ts";
import { placeIn } from "../launch/child.ts";
import type { ChildExit } from "../launch/journal.ts";
import { newPassedFds } from "../launch/passed-fds.ts";
import { withDeadline } from "../lib/deadline.ts";
import { O_APPEND, O_CREAT, O_RDWR, O_WRONLY } from "../linux/abi/fcntl.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import type { Cgroup } from "../linux/cgroup/cgroup.ts";
import { open } from "../linux/fd.ts";
import { identify, signal } from "../linux/process.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { findCriu } from "./criu.ts";
import { criuError } from "./criu-run.ts";
import { restoreProgram } from "./restore-program.ts";
import { checkRestored } from "./restored-processes.ts";
import { newWorkDir } from "./work-dir.ts";

const RESTORE_TIMEOUT_MS = 120_000;

/** Where the images of a container that is to be restored are: beside what it writes, and removed with that. */
export function restoreDir(upperDir: string): string {
  return join(dirname(upperDir), "checkpoint");
}

/**
 * Makes the processes of a container from its checkpoint. They stand still until `resume`, and whatever they
 * have that the container's configuration does not give is found out before.
 */
export async function launchRestored({
  runtime,
  sandbox,
  monitor,
  record,
  live,
  cgroup,
}: Start): Promise<Started> {
  const program = await findCriu(runtime);
  const { upperDir } = snapshotOf(runtime, record);
  const config = containerConfig(record);
  const spec = specOf(record);
  // criu gives processes the label that the images name.
  if ((spec.process.apparmorProfile ?? spec.process.selinuxLabel) !== undefined) {
    throw new UnimplementedError(
      `container ${record.id} has an AppArmor profile or an SELinux label, with which podrt restores nothing yet`,
    );
  }
  await using workDir = newWorkDir(runtime);
  using passed = newPassedFds();
  const stdio = newStdio({ tty: config.tty, stdin: config.stdin }, record.heldFd, stdioOwner(spec));
  for (const fd of [...stdio.launch.child, ...stdio.launch.held]) passed.own(fd);
  startPumps(live, stdio.daemon, logPlace(runtime, record), config.tty);
  const identity = identityOf(spec, config.linux?.securityContext, runtime.securityModules);
  const tag = newExecTag();
  const ended = Promise.withResolvers<ChildExit>();
  runtime.execs.set(tag, ended.resolve);
  let places: ReadonlyMap<string, RuntimeMount> = new Map();
  try {
    const launch = restoreProgram(
      {
        label: `container ${record.name}`,
        tag,
        spec,
        root: passed.own(takeRoot(runtime, record, live, undefined)),
        pause: passed.own(openPause(sandbox)),
        cgroup: placeIn(cgroup, passed),
        stdio: stdio.launch,
        keys: record.restore ?? {},
        imageVolumes: openImageVolumes(runtime, spec, passed),
        stage: runtime.paths.rootMountPoint,
        criu: { program, workDir: workDir.path, imagesDir: restoreDir(upperDir) },
        nothing: passed.own(open("/dev/null", O_RDWR)),
        output: passed.own(open(join(workDir.path, "output"), O_WRONLY | O_CREAT | O_APPEND, 0o600)),
      },
      passed,
    );
    ({ places } = launch);
    await monitor.launch(launch.program, passed.fds);
    const exit = await withDeadline(ended.promise, RESTORE_TIMEOUT_MS, `restore of container ${record.id}`);
    if (exit.status !== 0) throw refusedBy(record, exit, workDir.path);
  } catch (error) {
    if (error instanceof DeadlineExceededError) await cgroup.kill();
    throw error;
  } finally {
    runtime.execs.delete(tag);
    monitor.forget(tag);
  }
  const process = await adoptProcess(
    monitor,
    record,
    Number(readFileSync(join(workDir.path, "pidfile"), "utf8")),
  );
  checkRestored({ record, spec, identity, sandbox, places, process, pids: cgroup.pids() });
  return { process, resume: () => resumeAll(cgroup) };
}

function refusedBy(record: ContainerRecord, exit: ChildExit, workDir: string): Error {
  return new FailedPreconditionError(
    `container ${record.id} cannot be restored from its checkpoint: criu ended with code ${exitCodeOf(exit.status)} and says: ${criuError(join(workDir, "output"), join(workDir, "restore.log"))}`,
  );
}

/** Every process was stopped by criu; each goes on where it was. */
export function resumeAll(cgroup: Cgroup): void {
  for (const pid of cgroup.pids()) {
    const process = identify(pid);
    if (process !== undefined) signal(process, SIGNAL.SIGCONT);
  }
}
