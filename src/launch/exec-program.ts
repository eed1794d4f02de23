// SPDX-License-Identifier: Apache-2.0

import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWUTS,
} from "../linux/abi/sched.ts";
import { TIOCSCTTY } from "../linux/abi/tty.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Fd } from "../linux/fd.ts";
import {
  attachStdio,
  becomeApplication,
  type CgroupPlace,
  forkChild,
  joinCgroups,
  setOomScore,
} from "./child.ts";
import { labelExec } from "./exec-label.ts";
import type { Identity } from "./identity.ts";
import type { PassedFds } from "./passed-fds.ts";
import { newProgram, type Program } from "./program.ts";

/** A command to run inside a running container. */
export interface ExecLaunch {
  /** `exec in container app1`, as errors name it. */
  readonly label: string;
  readonly tag: number;
  readonly command: readonly string[];
  readonly environment: readonly string[];
  readonly cwd: string;
  readonly oomScoreAdj: number | undefined;
  readonly identity: Identity;
  readonly existingCapabilities: ReadonlySet<CapabilityName>;
  /** pidfd of the container's first process: its namespaces and its root are joined. */
  readonly container: Fd;
  readonly cgroup: CgroupPlace;
  readonly terminal: boolean;
  readonly stdio: readonly [Fd, Fd, Fd];
}

/** Compiles an exec: one fork, the container's namespaces through one pidfd, the container's identity. */
export function execProgram(launch: ExecLaunch, passed: PassedFds): Program {
  const program = newProgram(launch.label);
  const container = passed.add(launch.container);
  const child = forkChild(program, {
    name: launch.label,
    flags: 0,
    tag: launch.tag,
    pidNamespace: container,
    cgroupDirectory: launch.cgroup.directory && passed.add(launch.cgroup.directory),
  });
  child.step("become a session leader", "setsid", []);
  labelExec(child, launch.identity.execLabels);
  joinCgroups(child, launch.cgroup.joinTargets, passed);
  if (launch.oomScoreAdj !== undefined) setOomScore(child, launch.oomScoreAdj);
  child.step("join the container's namespaces", "setns", [
    container,
    CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
  ]);
  const [stdin, stdout, stderr] = launch.stdio.map((fd) => passed.add(fd)) as [number, number, number];
  attachStdio(child, stdin, stdout, stderr);
  if (launch.terminal) child.step("take the terminal", "ioctl", [0, TIOCSCTTY, 0]);
  becomeApplication(program, child, {
    cwd: launch.cwd,
    identity: launch.identity,
    existingCapabilities: launch.existingCapabilities,
    command: launch.command,
    environment: launch.environment,
  });
  return program;
}
