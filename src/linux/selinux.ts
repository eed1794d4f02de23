// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { trySyscall } from "./syscall.ts";

/** Where the kernel and the policy tell of SELinux; another folder in tests. */
export interface SelinuxFiles {
  /** There where selinuxfs is mounted, which it is where SELinux is on. */
  readonly enforce: string;
  /** Takes a context and refuses what the policy does not know (EINVAL). */
  readonly context: string;
  /** Holds `config`, and a folder for each policy. */
  readonly etc: string;
}

const KERNEL_FILES: SelinuxFiles = {
  enforce: "/sys/fs/selinux/enforce",
  context: "/sys/fs/selinux/context",
  etc: "/etc/selinux",
};

/** The parts of a security context, `user:role:type:level`; the level may hold colons of its own. */
export interface SelinuxContext {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

/** SELinux as this machine has it (selinux(8)). */
export interface Selinux {
  readonly isEnabled: boolean;
  /** Whether the loaded policy knows the context. */
  accepts(context: string): boolean;
  /** What containers are by the policy's own word (lxc_contexts), levels without categories. */
  readonly process: SelinuxContext;
  readonly file: SelinuxContext;
}

const PROCESS: SelinuxContext = { user: "system_u", role: "system_r", type: "container_t", level: "s0" };
const FILE: SelinuxContext = { user: "system_u", role: "object_r", type: "container_file_t", level: "s0" };

export function openSelinux(files: SelinuxFiles = KERNEL_FILES): Selinux {
  const isEnabled = existsSync(files.enforce);
  const contexts = isEnabled ? containerContexts(files.etc) : "";
  const named = (name: string) =>
    parseContext(new RegExp(`^\\s*${name}\\s*=\\s*"([^"]*)"`, "m").exec(contexts)?.[1] ?? "");
  return {
    isEnabled,
    accepts: (context) => isEnabled && writes(files.context, context),
    process: named("process") ?? PROCESS,
    file: named("file") ?? FILE,
  };
}

export function formatContext({ user, role, type, level }: SelinuxContext): string {
  return `${user}:${role}:${type}:${level}`;
}

export function parseContext(text: string): SelinuxContext | undefined {
  const [, user, role, type, level] = /^([^:]+):([^:]+):([^:]+):(.+)$/.exec(text) ?? [];
  return user && role && type && level ? { user, role, type, level } : undefined;
}

/** The text of lxc_contexts of the policy in use; empty where there is none. */
function containerContexts(etc: string): string {
  const policy = /^\s*SELINUXTYPE\s*=\s*([A-Za-z0-9_-]+)/m.exec(readText(join(etc, "config")))?.[1];
  return policy === undefined ? "" : readText(join(etc, policy, "contexts/lxc_contexts"));
}

/** Where a file keeps its context (xattr(7)). */
export const XATTR_SELINUX = "security.selinux";

/** Labels an open file, an O_PATH descriptor's too; answers 0 or -errno. */
export function labelFd(fd: number, context: string): number {
  return label("setxattr", `/proc/self/fd/${fd}`, context);
}

/** Labels what `path` names, a link itself; answers 0 or -errno. */
export function labelPath(path: string | Uint8Array, context: string): number {
  return label("lsetxattr", path, context);
}

function label(call: "setxattr" | "lsetxattr", path: string | Uint8Array, context: string): number {
  const value = Buffer.from(`${context}\0`);
  return trySyscall(call, path, XATTR_SELINUX, value, value.length, 0);
}

function writes(path: string, text: string): boolean {
  let file: number | undefined;
  try {
    file = openSync(path, "r+");
    writeSync(file, `${text}\0`);
    return true;
  } catch {
    return false;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
