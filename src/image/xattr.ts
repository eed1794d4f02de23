// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "../linux/abi/errno.ts";
import { SyscallError, syscall, trySyscall } from "../linux/syscall.ts";

/** The attribute by which an overlayfs directory hides the one below it (Documentation/filesystems/overlayfs). */
const OPAQUE = "trusted.overlay.opaque";
const OPAQUE_VALUE = Uint8Array.of(0x79);

const VALUE_LIMIT_BYTES = 65_536;
const LIST_LIMIT_BYTES = 65_536;

/**
 * Which extended attributes a layer may set. Never overlayfs's own, by which a layer could hide or
 * redirect what is below it, nor another `trusted.` or `security.` one: those steer the host's kernel.
 */
export function isAllowedXattr(name: string): boolean {
  if (name.startsWith("user.")) return name !== "user." && !name.startsWith("user.overlay.");
  return (
    name === "security.capability" ||
    name === "system.posix_acl_access" ||
    name === "system.posix_acl_default"
  );
}

/**
 * Sets the allowed ones of `xattrs` (binary strings) on an open file or directory, the others are
 * dropped. A file system that knows no attributes of a kind is accepted: images are made elsewhere.
 */
export function setXattrs(fd: number, xattrs: ReadonlyMap<string, string>): void {
  for (const [name, value] of xattrs) {
    if (isAllowedXattr(name)) setXattr(fd, Buffer.from(`${name}\0`, "latin1"), Buffer.from(value, "latin1"));
  }
}

/** The allowed attributes of an open file, names and values as binary strings. */
export function readXattrs(fd: number): Map<string, string> {
  const xattrs = new Map<string, string>();
  const list = new Uint8Array(LIST_LIMIT_BYTES);
  const length = trySyscall("flistxattr", fd, list, list.length);
  if (length <= 0) return xattrs;
  const names = Buffer.from(list.buffer, 0, length).toString("latin1").split("\0");
  for (const name of names.filter(isAllowedXattr)) {
    const value = new Uint8Array(VALUE_LIMIT_BYTES);
    const size = trySyscall("fgetxattr", fd, Buffer.from(`${name}\0`, "latin1"), value, value.length);
    if (size >= 0) xattrs.set(name, Buffer.from(value.buffer, 0, size).toString("latin1"));
  }
  return xattrs;
}

/** Copies the allowed attributes of one open file to another. */
export function copyXattrs(fromFd: number, toFd: number): void {
  setXattrs(toFd, readXattrs(fromFd));
}

/** Makes an open directory hide what lower layers have in its place. */
export function setOpaque(directoryFd: number): void {
  syscall("fsetxattr", directoryFd, OPAQUE, OPAQUE_VALUE, OPAQUE_VALUE.length, 0);
}

export function isOpaque(directoryFd: number): boolean {
  const value = new Uint8Array(1);
  return trySyscall("fgetxattr", directoryFd, OPAQUE, value, 1) === 1 && value[0] === OPAQUE_VALUE[0];
}

function setXattr(fd: number, name: Uint8Array, value: Uint8Array): void {
  const result = trySyscall("fsetxattr", fd, name, value, value.length, 0);
  if (result < 0 && result !== -ERRNO.EOPNOTSUPP) {
    throw new SyscallError("fsetxattr", -result, Buffer.from(name.subarray(0, -1)).toString());
  }
}
