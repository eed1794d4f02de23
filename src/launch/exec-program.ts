// SPDX-License-Identifier: Apache-2.0

import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "../linux/abi/sched.ts";
import { TIOCSCTTY } from "../linux/abi/tty.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Fd } from "../linux/fd.ts";
import { attachStdio, becomeApplication, type CgroupPlace, openNull, setOomScore } from "./child.ts";
import { labelExec } from "./exec-label.ts";
import { forkChild } from "./fork.ts";
import type { Identity } from "./identity.ts";
import type { PassedFds } from "./passed-fds.ts";
import { newProgram, type Operand, type Program } from "./program.ts";

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
  /** Whether the container is in a user namespace, which is joined too. */
  readonly userNamespace: boolean;
  readonly cgroup: CgroupPlace;
  readonly terminal: boolean;
  /** Where there is no stdin the command has the null device. */
  readonly stdio: readonly [Fd | undefined, Fd, Fd];
}

/** Compiles an exec: one fork, the container's namespaces through one pidfd, the container's identity. */
export function execProgram(launch: ExecLaunch, passed: PassedFds): Program {
  const program = newProgram(launch.label);
  const container = passed.add(launch.container);
  const namespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  const [stdin, stdout, stderr] = launch.stdio;
  let input: Operand = stdin === undefined ? 0 : passed.add(stdin);
  const child = forkChild(
    program,
    {
      name: launch.label,
      flags: 0,
      tag: launch.tag,
      pidNamespace: container,
      cgroup: launch.cgroup,
      join: {
        what: "the container's namespaces",
        of: container,
        flags: launch.userNamespace ? namespaces | CLONE_NEWUSER : namespaces,
      },
      prepare: (table) => {
        labelExec(table, launch.identity.execLabels);
        if (launch.oomScoreAdj !== undefined) setOomScore(table, launch.oomScoreAdj);
        if (stdin === undefined) input = openNull(table);
      },
    },
    passed,
  );
  attachStdio(child, input, passed.add(stdout), passed.add(stderr));
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
