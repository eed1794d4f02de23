// SPDX-License-Identifier: Apache-2.0
import { DEFAULT_PATH } from "../lib/executable.ts";
import { AT_FDCWD } from "../linux/abi/fcntl.ts";
import { MNT_DETACH, MOVE_MOUNT_F_EMPTY_PATH, MS_REC, MS_SLAVE } from "../linux/abi/mount.ts";
import { PR_SET_CHILD_SUBREAPER } from "../linux/abi/prctl.ts";
import { CLONE_NEWNS } from "../linux/abi/sched.ts";
import { TIOCSCTTY } from "../linux/abi/tty.ts";
import type { Fd } from "../linux/fd.ts";
import { attachStdio, type CgroupPlace, closeDescriptors } from "./child.ts";
import { holdStdio, type LaunchStdio } from "./container-program.ts";
import { forkChild } from "./fork.ts";
import type { OpenImageVolume } from "./image-volume.ts";
import type { PassedFds } from "./passed-fds.ts";
import { newProgram, type Operand, type Program, type Table } from "./program.ts";
import { mountFilesystem, mountSubdirectory, type RootTree, rootTree } from "./rootfs.ts";

/** The file systems of a container that an OCI runtime makes. */
export interface OciMounts {
  /** The root as a detached mount, which the runtime finds at `root` on the stage. */
  readonly root: Fd;
  /** By the names of their places there. */
  readonly volumes: ReadonlyMap<string, OpenImageVolume>;
  /** What the monitor keeps of the container's stdio, if that is known before. */
  readonly held: HeldStdio | undefined;
}

/** What the monitor keeps of a container's stdio. */
export type HeldStdio = Pick<LaunchStdio, "held" | "heldFd">;

/** One command of an OCI runtime. */
export interface OciCommand {
  readonly label: string;
  readonly tag: number;
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Where it runs. */
  readonly bundle: string;
  readonly cgroup: CgroupPlace;
  readonly stdio: readonly [Fd, Fd, Fd];
  /** Its stdin is a terminal, which becomes the one of its session. */
  readonly terminal: boolean;
  /** Mount points of cgroup hierarchies that it is not to see. */
  readonly hiddenCgroups: readonly string[];
  /** An empty directory of the host's; in the command's own mount namespace, where the container's root is. */
  readonly stage: string;
  /** For the command that makes a container. */
  readonly creates?: OciMounts | undefined;
}

const ENVIRONMENT = [`PATH=${DEFAULT_PATH}`];

/**
 * Compiles a command of an OCI runtime: a child of the monitor's in a mount namespace of its own. What it leaves
 * running, the container, becomes the monitor's child when it ends, since the monitor is made a subreaper.
 */
export function ociProgram(launch: OciCommand, passed: PassedFds): Program {
  const { creates, label, bundle } = launch;
  const program = newProgram(label);
  program.main.step("take in orphans", "prctl", [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0]);
  if (creates?.held !== undefined) holdStdio(program, creates.held, passed);
  const child = forkChild(
    program,
    {
      name: label,
      flags: CLONE_NEWNS,
      tag: launch.tag,
      pidNamespace: undefined,
      cgroup: launch.cgroup,
      join: undefined,
      prepare: () => {},
    },
    passed,
  );
  // Volumes may receive what the host mounts later; nothing goes back.
  child.step("keep mounts from the host", "mount", [0, "/", 0, MS_REC | MS_SLAVE, 0]);
  for (const place of launch.hiddenCgroups) {
    child.step(`hide ${place}`, "umount2", [place, MNT_DETACH], { tolerate: ["EINVAL", "ENOENT"] });
  }
  prepareStage(program, child, launch, passed);
  const [stdin, stdout, stderr] = launch.stdio.map((fd) => passed.add(fd)) as [number, number, number];
  attachStdio(child, stdin, stdout, stderr);
  if (launch.terminal) child.step("take the terminal", "ioctl", [0, TIOCSCTTY, 0]);
  closeDescriptors(child);
  child.step("enter the bundle", "chdir", [bundle]);
  child.step("set the umask", "umask", [0o022]);
  const [file = ""] = launch.command;
  const argv = program.stringArray(launch.command);
  child.step(`execute ${file}`, "execve", [file, argv, program.stringArray(ENVIRONMENT)]);
  return program;
}

/** Every command finds the directory of the root, since runtimes look for it; only the one that makes it, the root. */
function prepareStage(
  program: Program,
  child: Table,
  { stage, creates }: OciCommand,
  passed: PassedFds,
): void {
  const tree = rootTree(program, child);
  const volumes = [...(creates?.volumes ?? [])].map(
    ([name, volume]) => [name, volumeOf(tree, volume, stage, passed)] as const,
  );
  const attach = (what: string, mount: Operand, path: string) =>
    child.step(`attach ${what}`, "move_mount", [mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH]);
  attach("a place for mounts", mountFilesystem(child, "tmpfs", ["mode=0700"], 0), stage);
  child.step("make a place for the root", "mkdirat", [AT_FDCWD, `${stage}/root`, 0o755]);
  if (creates === undefined) return;
  attach("the root", passed.add(creates.root), `${stage}/root`);
  for (const [name, mount] of volumes) {
    child.step(`make a place for ${name}`, "mkdirat", [AT_FDCWD, `${stage}/${name}`, 0o755]);
    attach(name, mount, `${stage}/${name}`);
  }
}

function volumeOf(
  tree: RootTree,
  { root, subPath }: OpenImageVolume,
  mountPoint: string,
  passed: PassedFds,
): Operand {
  const whole = passed.give(root, tree);
  return subPath === "" ? whole : mountSubdirectory(tree.table, whole, subPath, mountPoint);
}
