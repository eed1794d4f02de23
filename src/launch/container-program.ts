// SPDX-License-Identifier: Apache-2.0
import { AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC } from "../linux/abi/fcntl.ts";
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
  CLONE_NEWUTS,
} from "../linux/abi/sched.ts";
import { MSGHDR_BYTES, rightsMessage } from "../linux/abi/socket.ts";
import { TIOCSCTTY } from "../linux/abi/tty.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Fd } from "../linux/fd.ts";
import type { RootPropagation, RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
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
import { makeReadOnly, maskPaths } from "./masks.ts";
import { MONITOR_FD } from "./monitor.ts";
import { compileMount, finishMounts, inMountOrder } from "./mounts.ts";
import type { PassedFds } from "./passed-fds.ts";
import { newProgram, type Operand, type Program, type Table } from "./program.ts";
import {
  enterRoot,
  leavePropagation,
  mountSubdirectory,
  type RootTree,
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
  /** pidfd of a member of the pid namespace to join; absent for a new one or the host's. */
  readonly pidNamespace: Fd | undefined;
  readonly newPidNamespace: boolean;
  readonly cgroup: CgroupPlace;
  readonly privateCgroupNamespace: boolean;
  readonly stdio: LaunchStdio;
  /** Of each mount that is of an image: the number in the monitor of its detached mount, and a part of it. */
  readonly imageVolumes: ReadonlyMap<RuntimeMount, { readonly root: number; readonly subPath: string }>;
  readonly rootMountPoint: string;
}

/** Compiles a container's launch; the order of the steps is the order of their need for privilege. */
export function containerProgram(launch: ContainerLaunch, passed: PassedFds): Program {
  const { spec } = launch;
  const program = newProgram(launch.label);
  holdStdio(program, launch.stdio, passed);
  const pidNamespace = launch.pidNamespace === undefined ? undefined : passed.add(launch.pidNamespace);
  const child = forkChild(program, {
    name: launch.label,
    flags: CLONE_NEWNS | (launch.newPidNamespace ? CLONE_NEWPID : 0),
    tag: launch.tag,
    pidNamespace,
    cgroupDirectory: launch.cgroup.directory && passed.add(launch.cgroup.directory),
  });
  child.step("become a session leader", "setsid", []);
  labelExec(child, launch.identity.execLabels);
  joinCgroups(child, launch.cgroup.joinTargets, passed);
  if (spec.process.oomScoreAdj !== undefined) setOomScore(child, spec.process.oomScoreAdj);
  child.step("join the pod's namespaces", "setns", [
    passed.add(launch.pause),
    CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
  ]);
  if (launch.privateCgroupNamespace)
    child.step("leave the host's cgroup namespace", "unshare", [CLONE_NEWCGROUP]);
  leavePropagation(child);
  const prepared = new Map<RuntimeMount, Operand>();
  for (const [mount, { root, subPath }] of launch.imageVolumes) {
    prepared.set(
      mount,
      subPath === "" ? root : mountSubdirectory(child, root, subPath, launch.rootMountPoint),
    );
  }
  enterRoot(child, passed.add(launch.root), launch.rootMountPoint);
  const [stdin, stdout, stderr] = launch.stdio.child.map((fd) => passed.add(fd)) as [number, number, number];
  child.step("clear the umask", "umask", [0]);
  const devpts = launch.stdio.devpts === undefined ? undefined : passed.add(launch.stdio.devpts);
  const tree = rootTree(child);
  for (const mount of inMountOrder(spec.mounts)) {
    compileMount(tree, mount, passed, mount.type === "devpts" ? devpts : prepared.get(mount));
  }
  makeDevices(tree, spec);
  if (launch.stdio.terminal) mountConsole(tree, stdin);
  makeReadOnly(child, spec.linux.readonlyPaths);
  maskPaths(child, spec.linux.maskedPaths, passed);
  tree.makeDirectories(spec.process.cwd);
  finishMounts(child, spec.mounts);
  if (spec.root.readonly)
    setMountAttributes(child, "/", mountAttr(MOUNT_ATTR_RDONLY), "make the root read-only");
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

/** The monitor keeps its ends of the pipes or the terminal, so that a daemon's death closes nothing. */
function holdStdio(program: Program, stdio: LaunchStdio, passed: PassedFds): void {
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
  const byte = program.data(Uint8Array.of(0));
  const iov = program.structure(new Uint8Array(new BigUint64Array([0n, 1n]).buffer), [
    { offset: 0, to: byte },
  ]);
  const fds = Array.from({ length: count }, (_, index) => heldFd + index);
  const control = program.data(rightsMessage(fds));
  const header = new Uint8Array(MSGHDR_BYTES);
  const view = new DataView(header.buffer);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(40, BigInt(control.bytes.length), true);
  const message = program.structure(header, [
    { offset: 16, to: iov },
    { offset: 32, to: control },
  ]);
  program.main.step("hand back stdio", "sendmsg", [MONITOR_FD.request + 2, message, 0]);
  return program;
}

const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

const DEVICE_LINKS = [
  ["/proc/self/fd", "/dev/fd"],
  ["/proc/self/fd/0", "/dev/stdin"],
  ["/proc/self/fd/1", "/dev/stdout"],
  ["/proc/self/fd/2", "/dev/stderr"],
  ["pts/ptmx", "/dev/ptmx"],
] as const;

function makeDevices(tree: RootTree, { linux, mounts }: RuntimeSpec): void {
  const { table } = tree;
  // A directory of the caller's on /dev is the host's own, most of the time: what is in it is what there is.
  const isForeign = mounts.some(({ destination, type }) => destination === "/dev" && type === "bind");
  for (const device of linux.devices) {
    if (isForeign && device.path.startsWith("/dev/")) continue;
    const at = device.path.lastIndexOf("/");
    const directory = device.path.slice(0, at) || "/";
    tree.makeDirectories(directory);
    const parent = tree.open(directory);
    const name = device.path.slice(at + 1);
    const mode = (device.type === "c" ? S_IFCHR : S_IFBLK) | device.fileMode;
    const number = deviceNumber(device.major, device.minor);
    table.step(`make device ${device.path}`, "mknodat", [parent, name, mode, number], {
      tolerate: ["EEXIST"],
    });
    if (device.uid !== 0 || device.gid !== 0) {
      const AT_SYMLINK_NOFOLLOW = 0x100;
      table.step(`give device ${device.path} its owner`, "fchownat", [
        parent,
        name,
        device.uid,
        device.gid,
        AT_SYMLINK_NOFOLLOW,
      ]);
    }
  }
  for (const [target, path] of isForeign ? [] : DEVICE_LINKS) {
    table.step(`link ${path} to ${target}`, "symlinkat", [target, AT_FDCWD, path], { tolerate: ["EEXIST"] });
  }
}

const PROPAGATION = { slave: MS_SLAVE, shared: MS_SHARED } as const;

/** Last of all, or what was attached before would be shared with the root; nothing where none is asked for. */
function propagateRoot(table: Table, propagation: RootPropagation | undefined): void {
  if (propagation === undefined) return;
  const attributes = mountAttr(0, 0, PROPAGATION[propagation]);
  setMountAttributes(table, "/", attributes, `make the root ${propagation}`);
}

/** dev_t as the kernel takes it: new_encode_dev of include/linux/kdev_t.h. */
function deviceNumber(major: number, minor: number): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12);
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
