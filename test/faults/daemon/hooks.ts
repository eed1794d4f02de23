// SPDX-License-Identifier: Apache-2.0
import { Database, Statement } from "bun:sqlite";
import { ERRNO } from "../../../src/linux/abi/errno.ts";
import type { SyscallName } from "../../../src/linux/abi/syscall-numbers.ts";
import { replaceKernel } from "../../../src/linux/syscall.ts";
import { atPoint, type PointKind } from "./points.ts";

/*
 * The first import of each entry point of a daemon that was built for the sweeps: system calls and writes to the
 * database become points.
 */

const CHANGES: ReadonlySet<SyscallName> = new Set<SyscallName>([
  ...([
    "bind",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "flock",
    "fsetxattr",
    "fsync",
    "fdatasync",
  ] as const),
  ...(["linkat", "mkdirat", "mknodat", "mount", "mount_setattr", "move_mount", "pidfd_send_signal"] as const),
  ...(["renameat", "sendmsg", "sendto", "splice", "symlinkat", "syncfs", "tee", "umount2"] as const),
  ...(["unlinkat", "utimensat", "write", "bpf", "kill"] as const),
]);
const TAKES: ReadonlySet<SyscallName> = new Set<SyscallName>([
  ...(["openat", "openat2", "socket", "socketpair", "pipe2", "memfd_create", "fsopen", "fsmount"] as const),
  ...(["fsconfig", "open_tree", "pidfd_open", "epoll_create1", "epoll_ctl", "setsockopt"] as const),
]);

function kindOf(name: SyscallName): PointKind | undefined {
  if (CHANGES.has(name)) return "changes";
  return TAKES.has(name) ? "takes" : undefined;
}

replaceKernel((real) => ({
  call(name, args) {
    const kind = kindOf(name);
    if (kind === undefined) return real.call(name, args);
    const texts = args.filter((argument) => typeof argument === "string");
    return atPoint(
      kind,
      [name, ...texts].join(" "),
      () => real.call(name, args),
      // EAGAIN of tee(2) says that the pipe is empty, which it never says of one that is not.
      (errno) => -(name === "tee" && errno === ERRNO.EAGAIN ? ERRNO.ENOMEM : errno),
    );
  },
}));

/** What SQLite makes of a failed write. */
function sqliteError(errno: number): Error {
  const [code, message] =
    errno === ERRNO.ENOSPC
      ? ["SQLITE_FULL", "database or disk is full"]
      : ["SQLITE_IOERR_WRITE", "disk I/O error"];
  return Object.assign(new Error(message), { name: "SQLiteError", code });
}

function hookMethod(prototype: object, name: "run"): void {
  const methods = prototype as Record<string, (...args: unknown[]) => unknown>;
  const real = methods[name] as (...args: unknown[]) => unknown;
  methods[name] = function hooked(this: { toString(): string }, ...args: unknown[]) {
    const refused = (errno: number) => {
      throw sqliteError(errno);
    };
    return atPoint(
      "changes",
      `sqlite ${String(args[0]).slice(0, 60)}`,
      () => real.apply(this, args),
      refused,
    );
  };
}

hookMethod(Database.prototype, "run");
hookMethod(Statement.prototype, "run");
