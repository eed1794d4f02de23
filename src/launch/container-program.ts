// SPDX-License-Identifier: Apache-2.0
import { AT_EMPTY_PATH, O_CLOEXEC } from "../linux/abi/fcntl.ts";
import {
  MOUNT_ATTR_RDONLY,
  MS_SHARED,
  MS_SLAVE,
  mountAttr,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../linux/abi/mount.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "../linux/abi/sched.ts";
import { rightsMessage } from "../linux/abi/socket.ts";
import { TIOCSCTTY } from "../linux/abi/tty.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Fd } from "../linux/fd.ts";
import { XATTR_SELINUX } from "../linux/selinux.ts";
import type { RootPropagation, RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import { attachStdio, becomeApplication, type CgroupPlace, setOomScore } from "./child.ts";
import { isDevForeign, makeDevices } from "./devices.ts";
import { labelExec } from "./exec-label.ts";
import { forkChild } from "./fork.ts";
import type { Identity } from "./identity.ts";
import type { OpenImageVolume } from "./image-volume.ts";
import { makeReadOnly, maskPaths } from "./masks.ts";
import { messageWith } from "./message.ts";
import { MONITOR_FD } from "./monitor.ts";
import {
  compileMount,
  finishMounts,
  inMountOrder,
  isDeviceMount,
  makeFilesystem,
  needsHostsMounts,
  type OpenSource,
} from "./mounts.ts";
import type { PassedFds } from "./passed-fds.ts";
import { newProgram, type Operand, type Program, type Table } from "./program.ts";
import {
  BARE_MOUNT_POINT,
  copyMounts,
  enterRoot,
  leavePropagation,
  mountSubdirectory,
  type RootTree,
  refuseCoveredRoot,
  rootTree,
  setMountAttributes,
} from "./rootfs.ts";

/** One end of a container's stdio: what the child gets, what the monitor keeps for the daemon. */
export interface LaunchStdio {
  readonly terminal: boolean;
  /** The child's descriptors; with a terminal all three are its slave. */
  readonly child: readonly [Fd, Fd, Fd];
  /** Kept by the monitor at `heldFd` and the numbers after it, for a daemon that comes later. */
  readonly held: readonly Fd[];
  readonly heldFd: number;
  /** The file system that the terminal lives in, as a detached mount. */
  readonly devpts: Fd | undefined;
}

/** What one container is to be, with every descriptor that its launch needs. */
export interface ContainerLaunch {
  /** `container app1`, as errors name it. */
  readonly label: string;
  readonly tag: number;
  readonly spec: RuntimeSpec;
  readonly identity: Identity;
  readonly existingCapabilities: ReadonlySet<CapabilityName>;
  /** The root file system as a detached mount. */
  readonly root: Fd;
  /** pidfd of the pause: the owner of the pod's namespaces. */
  readonly pause: Fd;
  /** Whether the pause has nothing mounted but its empty root, as the embedded one. */
  readonly isPauseBare: boolean;
  /** pidfd of a member of the pid namespace to join; absent for a new one or the host's. */
  readonly pidNamespace: Fd | undefined;
  readonly newPidNamespace: boolean;
  readonly cgroup: CgroupPlace;
  readonly privateCgroupNamespace: boolean;
  /** The file system for /dev where the container's user namespace can make no device; see `deviceFilesystem`. */
  readonly devices: Fd | undefined;
  readonly stdio: LaunchStdio;
  readonly imageVolumes: ReadonlyMap<RuntimeMount, OpenImageVolume>;
  /** Mounts that are given ready, as detached mounts. */
  readonly cgroupMounts: ReadonlyMap<RuntimeMount, Fd>;
  readonly rootMountPoint: string;
  /** How sources of binds are opened in a program that is only looked at. */
  readonly openSource?: OpenSource;
}

/** Compiles a container's launch; the order of the steps is the order of their need for privilege. */
export function containerProgram(launch: ContainerLaunch, passed: PassedFds): Program {
  const { spec } = launch;
  const program = newProgram(launch.label);
  holdStdio(program, launch.stdio, passed);
  const pidNamespace = launch.pidNamespace === undefined ? undefined : passed.add(launch.pidNamespace);
  const isInUserNamespace = spec.linux.namespaces.some(({ type }) => type === "user");
  const namespaces = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  const pause = passed.add(launch.pause);
  const isBare = launch.isPauseBare && !isInUserNamespace && !hasSubdirectories(launch);
  const child = forkChild(
    program,
    {
      name: launch.label,
      flags: (isBare ? 0 : CLONE_NEWNS) | (launch.newPidNamespace ? CLONE_NEWPID : 0),
      tag: launch.tag,
      pidNamespace,
      cgroup: launch.cgroup,
      join: {
        what: "the pod's namespaces",
        of: pause,
        flags: isInUserNamespace ? namespaces | CLONE_NEWUSER : namespaces,
      },
      prepare: (table) => {
        labelExec(table, launch.identity.execLabels);
        if (spec.process.oomScoreAdj !== undefined) setOomScore(table, spec.process.oomScoreAdj);
      },
    },
    passed,
  );
  if (launch.privateCgroupNamespace)
    child.step("leave the host's cgroup namespace", "unshare", [CLONE_NEWCGROUP]);
  if (isBare) copyMounts(child, pause);
  leavePropagation(child);
  const tree = rootTree(program, child);
  const prepared = new Map<RuntimeMount, Operand>();
  for (const mount of isInUserNamespace ? spec.mounts.filter(needsHostsMounts) : []) {
    prepared.set(mount, makeFilesystem(child, mount));
  }
  for (const [mount, { root, subPath }] of launch.imageVolumes) {
    const whole = passed.give(root, tree);
    prepared.set(
      mount,
      subPath === "" ? whole : mountSubdirectory(child, whole, subPath, launch.rootMountPoint),
    );
  }
  for (const [mount, copy] of launch.cgroupMounts) prepared.set(mount, passed.give(copy, tree));
  enterRoot(child, passed.add(launch.root), isBare ? BARE_MOUNT_POINT : launch.rootMountPoint);
  const [stdin, stdout, stderr] = launch.stdio.child.map((fd) => passed.add(fd)) as [number, number, number];
  child.step("clear the umask", "umask", [0]);
  const { devpts } = launch.stdio;
  for (const mount of spec.mounts) {
    if (mount.type === "devpts" && devpts !== undefined) prepared.set(mount, passed.add(devpts));
    if (isDeviceMount(mount) && launch.devices !== undefined) prepared.set(mount, passed.add(launch.devices));
  }
  for (const mount of inMountOrder(spec.mounts))
    compileMount(tree, mount, passed, prepared.get(mount), launch.openSource);
  makeDevices(tree, spec, launch.devices !== undefined);
  if (launch.stdio.terminal && !isDevForeign(spec)) mountConsole(tree, stdin);
  makeReadOnly(tree, spec.linux.readonlyPaths);
  maskPaths(tree, spec.linux.maskedPaths, passed, spec.linux.mountLabel);
  labelQueues(child, spec);
  tree.makeDirectories(spec.process.cwd);
  finishMounts(child, spec.mounts);
  if (spec.root.readonly)
    setMountAttributes(child, "/", mountAttr(MOUNT_ATTR_RDONLY), "make the root read-only");
  refuseCoveredRoot(child);
  propagateRoot(child, spec.linux.rootfsPropagation);
  attachStdio(child, stdin, stdout, stderr);
  if (launch.stdio.terminal) child.step("take the terminal", "ioctl", [0, TIOCSCTTY, 0]);
  becomeApplication(program, child, {
    cwd: spec.process.cwd,
    identity: launch.identity,
    existingCapabilities: launch.existingCapabilities,
    command: spec.process.args,
    environment: spec.process.env,
  });
  return program;
}

/** Older kernels need a directory of the host's to attach the image to meanwhile. */
function hasSubdirectories({ imageVolumes }: ContainerLaunch): boolean {
  return [...imageVolumes.values()].some(({ subPath }) => subPath !== "");
}

/** The message queues are the pod's, mounted once for all of its containers: no mount option can label them. */
function labelQueues(child: Table, { mounts, linux: { mountLabel } }: RuntimeSpec): void {
  if (mountLabel === undefined) return;
  const value = Buffer.from(`${mountLabel}\0`);
  for (const { destination } of mounts.filter(({ type }) => type === "mqueue")) {
    child.step(`label ${destination}`, "setxattr", [destination, XATTR_SELINUX, value, value.length, 0], {
      tolerate: ["EOPNOTSUPP"],
    });
  }
}

/** The monitor keeps its ends of the pipes or the terminal, so that a daemon's death closes nothing. */
export function holdStdio(
  program: Program,
  stdio: Pick<LaunchStdio, "held" | "heldFd">,
  passed: PassedFds,
): void {
  stdio.held.forEach((fd, index) => {
    program.main.step("keep stdio", "dup3", [passed.add(fd), stdio.heldFd + index, O_CLOEXEC]);
  });
}

/** A program that lets go of the descriptors kept for a container. */
export function releaseHeldProgram(label: string, heldFd: number, count: number): Program {
  const program = newProgram(label);
  program.main.step("release stdio", "close_range", [heldFd, heldFd + count - 1, 0]);
  return program;
}

/** A program that sends the descriptors kept for a container through the socket passed first. */
export function returnHeldProgram(label: string, heldFd: number, count: number): Program {
  const program = newProgram(label);
  const fds = Array.from({ length: count }, (_, index) => heldFd + index);
  const control = program.data(rightsMessage(fds));
  program.main.step("hand back stdio", "sendmsg", [MONITOR_FD.request + 2, messageWith(control, program), 0]);
  return program;
}

const PROPAGATION = { slave: MS_SLAVE, shared: MS_SHARED } as const;

/** Last of all, or what was attached before would be shared with the root; nothing where none is asked for. */
function propagateRoot(table: Table, propagation: RootPropagation | undefined): void {
  if (propagation === undefined) return;
  const attributes = mountAttr(0, 0, PROPAGATION[propagation]);
  setMountAttributes(table, "/", attributes, `make the root ${propagation}`);
}

/** The terminal is also /dev/console: a bind of the very slave that stdio has, found by descriptor. */
function mountConsole(tree: RootTree, slave: Operand): void {
  tree.makeFile("/dev/console");
  const console = tree.table.answer("copy the terminal's mount", "open_tree", [
    slave,
    "",
    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH,
  ]);
  tree.attach(console, "/dev/console", "mount the terminal on /dev/console");
}
