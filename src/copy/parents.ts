// SPDX-License-Identifier: Apache-2.0
import { cBytes } from "../image/apply-place.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { Fd } from "../linux/fd.ts";
import { tryOpenWithoutLinks } from "../linux/path.ts";
import { SyscallError, trySyscall } from "../linux/syscall.ts";

/** The directories that entries of an archive go into; an archive need not list them. */
export interface Parents extends Disposable {
  /** A descriptor (O_PATH) that is open until another directory is asked for. */
  of(path: string): number;
  /** The caller's own. */
  open(path: string): Fd;
}

const DIRECTORY_MODE = 0o755;

/** Directories beneath an open one, by their paths without links; what is missing is made. */
export function openParents(top: Fd): Parents {
  let last: { readonly path: string; readonly fd: Fd } | undefined;
  return {
    of(path) {
      if (path === "") return top.number;
      if (last?.path !== path) {
        last?.fd.close();
        last = undefined;
        last = { path, fd: openOrMake(top, path) };
      }
      return last.fd.number;
    },
    open: (path) => openOrMake(top, path === "" ? "." : path),
    [Symbol.dispose]: () => last?.fd.close(),
  };
}

function openOrMake(top: Fd, path: string): Fd {
  const found = tryOpenDirectory(top, path);
  if (found >= 0) return new Fd(found);
  if (found !== -ERRNO.ENOENT) throw new SyscallError("openat2", -found);
  const parts = path.split("/");
  for (let count = 1; count <= parts.length; count++) {
    const above = parts.slice(0, count - 1).join("/");
    const parent = tryOpenDirectory(top, above === "" ? "." : above);
    if (parent < 0) throw new SyscallError("openat2", -parent);
    using directory = new Fd(parent);
    const made = trySyscall("mkdirat", directory.number, cBytes(parts[count - 1]!), DIRECTORY_MODE);
    if (made < 0 && made !== -ERRNO.EEXIST) throw new SyscallError("mkdirat", -made);
  }
  const made = tryOpenDirectory(top, path);
  if (made < 0) throw new SyscallError("openat2", -made);
  return new Fd(made);
}

function tryOpenDirectory(top: Fd, path: string): number {
  return tryOpenWithoutLinks(top.number, cBytes(path), O_PATH | O_DIRECTORY);
}
