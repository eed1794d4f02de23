// SPDX-License-Identifier: Apache-2.0

import { ERRNO } from "./abi/errno.ts";
import { AT_EMPTY_PATH, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDWR } from "./abi/fcntl.ts";
import {
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
} from "./abi/mount.ts";
import { TIOCGPTPEER, TIOCSPTLCK, TIOCSWINSZ, windowSize } from "./abi/tty.ts";
import { Fd, open } from "./fd.ts";
import { openInRoot, statFd } from "./path.ts";
import { SyscallError, syscall } from "./syscall.ts";

/** The two ends of a pseudo-terminal, pty(7). */
export interface Terminal {
  readonly master: Fd;
  readonly slave: Fd;
}

/** Whom a terminal belongs to, in the host's numbers. */
export interface TerminalOwner {
  readonly uid: number;
  /** The group `tty`, which may write to it. */
  readonly ttyGroup: number;
  /** Whom the file system belongs to. */
  readonly root: { readonly uid: number; readonly gid: number };
  /** SELinux context of the file system; absent where SELinux is off. */
  readonly label?: string | undefined;
}

/** A new instance of devpts as a detached mount, and the first terminal in it. */
export function newTerminalFilesystem(owner: TerminalOwner): Terminal & { readonly devpts: Fd } {
  using context = new Fd(syscall("fsopen", "devpts", FSOPEN_CLOEXEC));
  const options = [
    ["ptmxmode", "0666"],
    ["mode", "0620"],
    ["gid", String(owner.ttyGroup)],
    ...(owner.label === undefined ? [] : [["context", owner.label] as const]),
  ] as const;
  for (const [key, value] of options) {
    syscall("fsconfig", context.number, FSCONFIG_SET_STRING, key, value, 0);
  }
  syscall("fsconfig", context.number, FSCONFIG_CMD_CREATE, null, null, 0);
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  using opened = new DisposableStack();
  const devpts = opened.use(new Fd(syscall("fsmount", context.number, FSMOUNT_CLOEXEC, attributes)));
  for (const name of ["", "ptmx"]) {
    syscall("fchownat", devpts.number, name, owner.root.uid, owner.root.gid, AT_EMPTY_PATH);
  }
  const terminal = openTerminal(open("ptmx", O_RDWR | O_NOCTTY, 0, devpts.number), owner);
  opened.move();
  return { ...terminal, devpts };
}

// st_rdev of the multiplexer (Documentation/admin-guide/devices.txt) and the magic of its file system.
const PTMX_DEVICE = "5:2";
const DEVPTS_SUPER_MAGIC = 0x1cd1;
const STATFS_BYTES = 120;

/**
 * A terminal in the devpts of the root that `rootFd` names. What is found there was put there by the
 * container, so it is checked to be the multiplexer before it is used.
 */
export function openTerminalIn(rootFd: number, owner: TerminalOwner): Terminal {
  const master = openInRoot(rootFd, "dev/pts/ptmx", O_RDWR | O_NOCTTY);
  const statfs = new Uint8Array(STATFS_BYTES);
  syscall("fstatfs", master.number, statfs);
  const magic = new DataView(statfs.buffer).getUint32(0, true);
  if (statFd(master.number).rdev !== PTMX_DEVICE || magic !== DEVPTS_SUPER_MAGIC) {
    master.close();
    throw new SyscallError("open a terminal", ERRNO.ENODEV, "/dev/pts/ptmx of the container");
  }
  return openTerminal(master, owner);
}

/** Takes the master over: it is closed when there can be no terminal. */
function openTerminal(master: Fd, owner: TerminalOwner): Terminal {
  const F_SETFL = 4;
  using opened = new DisposableStack();
  opened.use(master);
  syscall("fcntl", master.number, F_SETFL, O_RDWR | O_NONBLOCK);
  syscall("ioctl", master.number, TIOCSPTLCK, new Uint8Array(4));
  const peer = syscall("ioctl", master.number, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  const slave = opened.use(new Fd(peer));
  syscall("fchown", slave.number, owner.uid, owner.ttyGroup);
  opened.move();
  return { master, slave };
}

/** Tells the terminal its size in characters; zero leaves it as it is. */
export function resizeTerminal(master: Fd, width: number, height: number): void {
  if (width > 0 && height > 0) syscall("ioctl", master.number, TIOCSWINSZ, windowSize(width, height));
}
