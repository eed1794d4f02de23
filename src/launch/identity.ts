// SPDX-License-Identifier: Apache-2.0
import { _LINUX_CAPABILITY_VERSION_3 } from "../linux/abi/capability.ts";
import {
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
} from "../linux/abi/prctl.ts";
import {
  IOPRIO_CLASS,
  IOPRIO_CLASS_SHIFT,
  IOPRIO_WHO_PROCESS,
  RLIMIT,
  rlimit64,
} from "../linux/abi/resource.ts";
import { CAPABILITIES, type CapabilityName, capabilityMask } from "../linux/capability.ts";
import type { SeccompFilter } from "../linux/seccomp/filters.ts";
import type { RuntimeIoPriority, RuntimeRlimit } from "../oci/runtime-spec.ts";
import type { ExecLabel } from "./exec-label.ts";
import type { Program, Table } from "./program.ts";

/** Who a process is to be when it execs. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** The supplementary groups, exactly these. */
  readonly groups: readonly number[];
  readonly bounding: ReadonlySet<CapabilityName>;
  readonly effective: ReadonlySet<CapabilityName>;
  readonly permitted: ReadonlySet<CapabilityName>;
  readonly inheritable: ReadonlySet<CapabilityName>;
  readonly ambient: ReadonlySet<CapabilityName>;
  readonly noNewPrivileges: boolean;
  /** Absent for an unconfined process. */
  readonly seccompFilter: SeccompFilter | undefined;
  /** What the machine's security modules are asked for; none for an unconfined process. */
  readonly execLabels: readonly ExecLabel[];
  /** Absent for what the daemon has. */
  readonly rlimits?: readonly RuntimeRlimit[] | undefined;
  readonly ioPriority?: RuntimeIoPriority | undefined;
}

const SECCOMP_SET_MODE_FILTER = 1;
const SOCK_FILTER_BYTES = 8;

/**
 * Appends the steps that turn root into `identity`, least privilege last.
 *
 * `existing` are the capabilities the process has to begin with, so that only those are dropped.
 * Without no_new_privs the kernel takes a filter only from CAP_SYS_ADMIN, so it goes in before the
 * capabilities go; with it the filter comes last and need not allow what happens here.
 */
export function assumeIdentity(
  program: Program,
  table: Table,
  identity: Identity,
  existing: ReadonlySet<CapabilityName>,
): void {
  for (const { type, soft, hard } of identity.rlimits ?? []) {
    const limit = rlimit64(BigInt(soft), BigInt(hard));
    table.step(`set ${type} to ${soft} and ${hard}`, "prlimit64", [0, RLIMIT[type], limit, 0]);
  }
  if (identity.ioPriority !== undefined) {
    const { class: name, priority } = identity.ioPriority;
    const value = (IOPRIO_CLASS[name] << IOPRIO_CLASS_SHIFT) | priority;
    table.step(`set I/O priority ${name} ${priority}`, "ioprio_set", [IOPRIO_WHO_PROCESS, 0, value]);
  }
  for (const name of existing) {
    if (identity.bounding.has(name)) continue;
    table.step(`drop ${name} from the bounding set`, "prctl", [PR_CAPBSET_DROP, CAPABILITIES[name], 0, 0, 0]);
  }
  if (!identity.noNewPrivileges) installFilter(program, table, identity.seccompFilter);
  const groups = new Uint8Array(new Uint32Array(identity.groups).buffer);
  table.step("set supplementary groups", "setgroups", [
    identity.groups.length,
    identity.groups.length === 0 ? 0 : groups,
  ]);
  table.step("keep capabilities over setuid", "prctl", [PR_SET_KEEPCAPS, 1, 0, 0, 0]);
  table.step(`become group ${identity.gid}`, "setresgid", [identity.gid, identity.gid, identity.gid]);
  table.step(`become user ${identity.uid}`, "setresuid", [identity.uid, identity.uid, identity.uid]);
  table.step("clear ambient capabilities", "prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0]);
  table.step("set capabilities", "capset", [capabilityHeader(), capabilityData(identity)]);
  for (const name of identity.ambient) {
    table.step(`raise ambient ${name}`, "prctl", [
      PR_CAP_AMBIENT,
      PR_CAP_AMBIENT_RAISE,
      CAPABILITIES[name],
      0,
      0,
    ]);
  }
  if (identity.noNewPrivileges) {
    table.step("set no_new_privs", "prctl", [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
    installFilter(program, table, identity.seccompFilter);
  }
}

function installFilter(program: Program, table: Table, filter: SeccompFilter | undefined): void {
  if (filter === undefined) return;
  // struct sock_fprog of include/uapi/linux/filter.h: u16 length, padding, pointer.
  const header = new Uint8Array(16);
  new DataView(header.buffer).setUint16(0, filter.instructions.length / SOCK_FILTER_BYTES, true);
  const fprog = program.structure(header, [{ offset: 8, to: program.data(filter.instructions) }]);
  table.step("install the seccomp filter", "seccomp", [SECCOMP_SET_MODE_FILTER, filter.flags, fprog]);
}

/** struct __user_cap_header_struct for the calling thread. */
function capabilityHeader(): Uint8Array {
  return new Uint8Array(new Uint32Array([_LINUX_CAPABILITY_VERSION_3, 0]).buffer);
}

/** struct __user_cap_data_struct[2]: effective, permitted, inheritable, low words then high words. */
function capabilityData(identity: Identity): Uint8Array {
  const masks = [identity.effective, identity.permitted, identity.inheritable].map(capabilityMask);
  const words = [...masks.map((mask) => mask & 0xffff_ffffn), ...masks.map((mask) => mask >> 32n)];
  return new Uint8Array(new Uint32Array(words.map(Number)).buffer);
}
