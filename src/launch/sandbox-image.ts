// SPDX-License-Identifier: Apache-2.0
import { MOUNT_ATTR_RDONLY, mountAttr } from "../linux/abi/mount.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { Fd } from "../linux/fd.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import { becomeApplication } from "./child.ts";
import type { Identity } from "./identity.ts";
import { compileMount, makeFilesystem } from "./mounts.ts";
import type { PassedFds } from "./passed-fds.ts";
import type { Program, Table } from "./program.ts";
import { enterRoot, rootTree, setMountAttributes } from "./rootfs.ts";

/** The process of a configured sandbox image, which is a pod's pause in place of the embedded one. */
export interface SandboxImageProcess {
  /** The image's root file system as a detached mount. */
  readonly root: Fd;
  readonly command: readonly string[];
  readonly environment: readonly string[];
  readonly cwd: string;
}

/** All that the process finds besides its image. Read-only, since root without capabilities owns the files. */
const PROC: RuntimeMount = {
  destination: "/proc",
  type: "proc",
  source: "proc",
  options: ["nosuid", "noexec", "nodev", "ro"],
};

/** Appends the end of a sandbox's launch: the image's root, read-only, and its command as `identity`. */
export function becomeSandboxImage(
  program: Program,
  child: Table,
  image: SandboxImageProcess,
  launch: {
    readonly identity: Identity;
    readonly existingCapabilities: ReadonlySet<CapabilityName>;
    readonly rootMountPoint: string;
  },
  passed: PassedFds,
): void {
  // Before the host's mounts are out of sight: in a user namespace the kernel wants to see theirs.
  const proc = makeFilesystem(child, PROC);
  enterRoot(child, passed.add(image.root), launch.rootMountPoint);
  compileMount(rootTree(program, child), PROC, passed, proc);
  setMountAttributes(child, "/", mountAttr(MOUNT_ATTR_RDONLY), "make the root read-only");
  becomeApplication(program, child, { ...image, ...launch });
}
