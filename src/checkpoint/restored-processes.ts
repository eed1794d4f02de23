// SPDX-License-Identifier: Apache-2.0
import { readFileSync, readlinkSync } from "node:fs";
import { capabilitySet } from "../container/process-spec.ts";
import { FailedPreconditionError } from "../errors.ts";
import type { Identity } from "../launch/identity.ts";
import { capabilityMask } from "../linux/capability.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { mountProblem } from "./restored-mounts.ts";

/*
 * A checkpoint is anybody's bytes, and criu, as root, makes processes of them with whatever identity they say.
 * So before one of them runs it is compared, by what the kernel says of it, with what the container's
 * configuration gives: it may have less, as a program that has dropped privilege, and never more.
 */

export interface Restored {
  readonly record: ContainerRecord;
  readonly spec: RuntimeSpec;
  readonly identity: Identity;
  readonly sandbox: SandboxRecord;
  /** Where the mounts of the configuration are. */
  readonly places: ReadonlyMap<string, RuntimeMount>;
  /** The first of the processes. */
  readonly process: ProcessIdentity;
  /** All of them, stopped. */
  readonly pids: readonly number[];
}

/** Throws a FailedPreconditionError that names what a process has too much of. */
export function checkRestored(restored: Restored): void {
  const { record, process, pids } = restored;
  const excess = (what: string) =>
    new FailedPreconditionError(
      `container ${record.id} is not restored: its checkpoint ${what} than its configuration allows`,
    );
  if (!pids.includes(process.pid)) throw excess("has its first process in another cgroup");
  const pidNamespace = namespaceOf(process.pid, "pid");
  for (const pid of pids) {
    const problem =
      identityProblem(pid, restored) ??
      namespaceProblem(pid, pidNamespace, restored) ??
      mountProblem(pid, restored);
    if (problem !== undefined) throw excess(problem);
  }
}

const CAPABILITY_FIELDS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const SECCOMP_MODE_FILTER = "2";

/** proc_pid_status(5). */
function identityProblem(pid: number, { spec, identity }: Restored): string | undefined {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
  const allowed = capabilityMask(capabilitySet(spec.process.capabilities.bounding));
  for (const name of CAPABILITY_FIELDS) {
    if ((BigInt(`0x${field(name)}`) & ~allowed) !== 0n) return `has more capabilities (${name} of a process)`;
  }
  const { uid, gid, groups, noNewPrivileges, seccompFilter } = identity;
  if (noNewPrivileges && field("NoNewPrivs") !== "1") return "may gain privileges by execve, more";
  if (seccompFilter !== undefined && field("Seccomp") !== SECCOMP_MODE_FILTER)
    return "may make more system calls";
  // With set-user-id programs, and with root's capabilities, a process comes to other ids by itself.
  if (!noNewPrivileges || uid === 0) return undefined;
  const ids = (name: string) => field(name).split(/\s+/).filter(Boolean).map(Number);
  if (ids("Uid").some((id) => id !== uid)) return "has a process of another user";
  if (ids("Gid").some((id) => id !== gid && !groups.includes(id))) return "has a process of another group";
  if (ids("Groups").some((id) => id !== gid && !groups.includes(id))) return "has a process in more groups";
  return undefined;
}

function namespaceProblem(
  pid: number,
  pidNamespace: string,
  { sandbox, spec }: Restored,
): string | undefined {
  const pause = sandbox.pause?.pid ?? 0;
  for (const kind of ["net", "ipc", "uts"]) {
    if (namespaceOf(pid, kind) !== namespaceOf(pause, kind))
      return `has a process with another ${kind} namespace`;
  }
  if (namespaceOf(pid, "user") !== namespaceOf("self", "user"))
    return "has a process with another user namespace";
  if (namespaceOf(pid, "pid") !== pidNamespace) return "has processes in more process namespaces";
  const own = spec.linux.namespaces.some(({ type }) => type === "cgroup")
    ? ["mnt", "pid", "cgroup"]
    : ["mnt", "pid"];
  const shared = own.find((kind) => namespaceOf(pid, kind) === namespaceOf("self", kind));
  return shared === undefined ? undefined : `has a process with the host's ${shared} namespace, more`;
}

function namespaceOf(pid: number | "self", kind: string): string {
  return readlinkSync(`/proc/${pid}/ns/${kind}`);
}
