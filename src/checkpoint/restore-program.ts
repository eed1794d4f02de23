// SPDX-License-Identifier: Apache-2.0
import { type CgroupPlace, closeDescriptors, setOomScore } from "../launch/child.ts";
import { holdStdio, type LaunchStdio } from "../launch/container-program.ts";
import { forkChild } from "../launch/fork.ts";
import type { OpenImageVolume } from "../launch/image-volume.ts";
import type { PassedFds } from "../launch/passed-fds.ts";
import { newProgram, type Program } from "../launch/program.ts";
import { leavePropagation, mountFilesystem, setMountAttributes } from "../launch/rootfs.ts";
import { AT_FDCWD } from "../linux/abi/fcntl.ts";
import { MOUNT_ATTR_RDONLY, MOVE_MOUNT_F_EMPTY_PATH, mountAttr } from "../linux/abi/mount.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWUTS,
} from "../linux/abi/sched.ts";
import type { Fd } from "../linux/fd.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import type { RestoreRecord } from "../state/containers.ts";
import { CRIU_ENVIRONMENT, limitCriu } from "./criu-run.ts";
import { type PreparedMounts, prepareMounts } from "./restore-mounts.ts";

/** What one restore needs. */
export interface RestoreLaunch {
  readonly label: string;
  /** Of criu in the journal. */
  readonly tag: number;
  readonly spec: RuntimeSpec;
  readonly root: Fd;
  /** pidfd of the pause: the owner of the pod's namespaces. */
  readonly pause: Fd;
  readonly cgroup: CgroupPlace;
  readonly stdio: LaunchStdio;
  readonly keys: RestoreRecord;
  readonly imageVolumes: ReadonlyMap<RuntimeMount, OpenImageVolume>;
  /** An empty directory of the host's, over which everything is mounted that criu is to take. */
  readonly stage: string;
  readonly criu: { readonly program: string; readonly workDir: string; readonly imagesDir: string };
  readonly nothing: Fd;
  /** Where criu's own output goes. */
  readonly output: Fd;
}

/** Numbers that criu finds the container's stdio under. */
const STDIO_FDS = { stdin: 3, stdout: 4, stderr: 5 } as const;

/**
 * Compiles a restore: a child of the monitor's that has the pod's namespaces and the container's cgroup, so
 * that what it makes has them too, prepares the mounts and becomes criu. The container's first process will be
 * the monitor's child as well (--restore-sibling), and reaped by it.
 */
export function restoreProgram(
  launch: RestoreLaunch,
  passed: PassedFds,
): { readonly program: Program; readonly places: PreparedMounts["places"] } {
  const { spec, stage, criu, keys } = launch;
  const program = newProgram(launch.label);
  holdStdio(program, launch.stdio, passed);
  const child = forkChild(
    program,
    {
      name: launch.label,
      flags: CLONE_NEWNS,
      tag: launch.tag,
      pidNamespace: undefined,
      cgroup: launch.cgroup,
      join: {
        what: "the pod's namespaces",
        of: passed.add(launch.pause),
        flags: CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
      },
      prepare: (table) => {
        if (spec.process.oomScoreAdj !== undefined) setOomScore(table, spec.process.oomScoreAdj);
      },
    },
    passed,
  );
  if (spec.linux.namespaces.some(({ type }) => type === "cgroup")) {
    child.step("leave the host's cgroup namespace", "unshare", [CLONE_NEWCGROUP]);
  }
  leavePropagation(child);
  child.step("clear the umask", "umask", [0]);
  const place = mountFilesystem(child, "tmpfs", ["mode=0700"], 0);
  child.step("attach a place for mounts", "move_mount", [
    place,
    "",
    AT_FDCWD,
    stage,
    MOVE_MOUNT_F_EMPTY_PATH,
  ]);
  const root = `${stage}/root`;
  child.step("make a place for the root", "mkdirat", [AT_FDCWD, root, 0o755]);
  const rootFd = passed.add(launch.root);
  child.step("attach the root file system", "move_mount", [
    rootFd,
    "",
    AT_FDCWD,
    root,
    MOVE_MOUNT_F_EMPTY_PATH,
  ]);
  const mounts = prepareMounts(program, child, stage, {
    spec,
    root: launch.root,
    passed,
    imageVolumes: launch.imageVolumes,
  });
  if (spec.root.readonly)
    setMountAttributes(child, root, mountAttr(MOUNT_ATTR_RDONLY), "make the root read-only");
  child.step("set the umask", "umask", [0o077]);
  child.step("enter the working directory", "chdir", [criu.workDir]);
  limitCriu(child);
  const descriptors = [
    [launch.nothing, 0],
    [launch.output, 1],
    [launch.output, 2],
    [launch.stdio.child[0], STDIO_FDS.stdin],
    [launch.stdio.child[1], STDIO_FDS.stdout],
    [launch.stdio.child[2], STDIO_FDS.stderr],
  ] as const;
  for (const [fd, target] of descriptors)
    child.step("attach descriptors", "dup3", [passed.add(fd), target, 0]);
  closeDescriptors(child, STDIO_FDS.stderr + 1);
  const inherited = (["stdin", "stdout", "stderr"] as const).flatMap((name) => {
    const key = keys[name];
    return key === undefined ? [] : ["--inherit-fd", `fd[${STDIO_FDS[name]}]:${key}`];
  });
  const command = [
    criu.program,
    "restore",
    ...["--images-dir", criu.imagesDir, "--work-dir", criu.workDir],
    ...["--log-file", "restore.log", "-v2", "--pidfile", `${criu.workDir}/pidfile`],
    ...["--restore-detached", "--restore-sibling", "--leave-stopped"],
    ...["--root", root, "--manage-cgroups=ignore"],
    ...["--file-locks", "--tcp-close", "--no-default-config"],
    ...mounts.arguments,
    ...inherited,
  ];
  child.step(`execute ${criu.program}`, "execve", [
    criu.program,
    program.stringArray(command),
    program.stringArray(CRIU_ENVIRONMENT),
  ]);
  return { program, places: mounts.places };
}
