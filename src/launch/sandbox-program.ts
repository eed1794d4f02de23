// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { errnoName } from "../linux/abi/errno.ts";
import { AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../linux/abi/fcntl.ts";
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
} from "../linux/abi/mount.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "../linux/abi/sched.ts";
import type { CapabilityName } from "../linux/capability.ts";
import { type Fd, sealedMemfd } from "../linux/fd.ts";
import { PAUSE_ELF } from "../linux/machine-code.ts";
import { labelFd } from "../linux/selinux.ts";
import { type CgroupPlace, setOomScore } from "./child.ts";
import { labelExec } from "./exec-label.ts";
import { forkChild } from "./fork.ts";
import { assumeIdentity, type Identity } from "./identity.ts";
import type { PassedFds } from "./passed-fds.ts";
import { newProgram, type Program, type Table } from "./program.ts";
import {
  BARE_MOUNT_POINT,
  copyMounts,
  enterRoot,
  leavePropagation,
  mountFilesystem,
  withContext,
} from "./rootfs.ts";
import { becomeSandboxImage, type SandboxImageProcess } from "./sandbox-image.ts";

/** What the pause of one sandbox is to own and to be. */
export interface SandboxLaunch {
  /** `sandbox demo-pod`, as errors name it. */
  readonly label: string;
  readonly tag: number;
  /** Which namespaces the pause creates; the others it shares with the host. */
  readonly newNamespaces: {
    readonly network: boolean;
    readonly ipc: boolean;
    readonly uts: boolean;
    readonly pid: boolean;
  };
  readonly hostname: string;
  /** Kernel parameters of the pod's namespaces: name with slashes, value. */
  readonly sysctls: readonly (readonly [string, string])[];
  readonly oomScoreAdj: number;
  readonly identity: Identity;
  readonly existingCapabilities: ReadonlySet<CapabilityName>;
  readonly cgroup: CgroupPlace;
  readonly rootMountPoint: string;
  /** The mount namespace of another embedded pause, where there is one: copied in place of the host's. */
  readonly bareMounts: Fd | undefined;
  /** The pod's user namespace, to which the new ones are to belong; absent for the host's. */
  readonly userNamespace: Fd | undefined;
  /** What is run in place of the embedded pause. */
  readonly image?: SandboxImageProcess | undefined;
  /** SELinux context of the pause's executable, the same for all pods; absent where nothing is labelled. */
  readonly executableLabel: string | undefined;
  /** SELinux context of its root; absent where nothing is labelled. */
  readonly rootLabel: string | undefined;
}

let pauseBinary: Fd | undefined;

/** The pause's executable, one for all pods; `label` is what lets a labelled process execute it. */
function pauseExecutable(label: string | undefined): Fd {
  if (pauseBinary !== undefined) return pauseBinary.duplicate();
  const binary = sealedMemfd("podrt-pause", PAUSE_ELF);
  const result = label === undefined ? 0 : labelFd(binary.number, label);
  if (result < 0) {
    binary.close();
    throw new FailedPreconditionError(
      `cannot label the pause's executable as ${label}: ${errnoName(-result)}; the policy has to let podrt relabel its files`,
    );
  }
  pauseBinary = binary;
  return binary.duplicate();
}

/**
 * The program that starts a sandbox's pause: new namespaces, an empty read-only root, no
 * capability, and the embedded executable from a sealed memfd; or the process of an image.
 */
export function sandboxProgram(launch: SandboxLaunch, passed: PassedFds): Program {
  const program = newProgram(launch.label);
  const { userNamespace } = launch;
  // In a user namespace of its own the pause may enter no mount namespace of the host's.
  const isBare = launch.bareMounts !== undefined && userNamespace === undefined && launch.image === undefined;
  const child = forkChild(
    program,
    {
      name: launch.label,
      flags: cloneFlags(launch.newNamespaces) | (isBare ? 0 : CLONE_NEWNS),
      tag: launch.tag,
      pidNamespace: undefined,
      cgroup: launch.cgroup,
      join: userNamespace && {
        what: "the pod's user namespace",
        of: passed.add(userNamespace),
        flags: CLONE_NEWUSER,
      },
      prepare: (table) => {
        labelExec(table, launch.identity.execLabels);
        setOomScore(table, launch.oomScoreAdj);
      },
    },
    passed,
  );
  if (launch.newNamespaces.uts) {
    const name = new TextEncoder().encode(launch.hostname);
    child.step(`set the host name to ${launch.hostname}`, "sethostname", [name, name.length]);
  }
  for (const [name, value] of launch.sysctls) setSysctl(child, name, value);
  if (isBare && launch.bareMounts !== undefined) copyMounts(child, passed.add(launch.bareMounts));
  leavePropagation(child);
  if (launch.image !== undefined) {
    becomeSandboxImage(program, child, launch.image, launch, passed);
    return program;
  }
  // What has been copied is that already, but for a label of the pod's own.
  if (!isBare || launch.rootLabel !== undefined) {
    const attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    const options = withContext(["size=0k", "nr_inodes=1", "mode=0555"], launch.rootLabel);
    const root = mountFilesystem(child, "tmpfs", options, attributes);
    enterRoot(child, root, isBare ? BARE_MOUNT_POINT : launch.rootMountPoint);
  }
  const executable = passed.add(pauseExecutable(launch.executableLabel));
  assumeIdentity(program, child, launch.identity, launch.existingCapabilities);
  // Marked rather than closed: the executable itself is one of them.
  child.step("close descriptors at execve", "close_range", [3, 0xffff_ffff, 4]);
  child.step("execute /pause", "execveat", [
    executable,
    "",
    program.stringArray(["/pause"]),
    program.stringArray([]),
    AT_EMPTY_PATH,
  ]);
  return program;
}

function cloneFlags(namespaces: SandboxLaunch["newNamespaces"]): number {
  return (
    (namespaces.network ? CLONE_NEWNET : 0) |
    (namespaces.ipc ? CLONE_NEWIPC : 0) |
    (namespaces.uts ? CLONE_NEWUTS : 0) |
    (namespaces.pid ? CLONE_NEWPID : 0)
  );
}

function setSysctl(table: Table, name: string, value: string): void {
  const path = `/proc/sys/${name}`;
  const file = table.answer(`sysctl ${name}: open ${path}`, "openat", [
    AT_FDCWD,
    path,
    O_WRONLY | O_CLOEXEC,
    0,
  ]);
  table.step(`sysctl ${name}: write ${value}`, "write", [file, value, value.length]);
}
