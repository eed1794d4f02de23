// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { runFilter } from "../../../test/support/classic-bpf.ts";
import { ABIS, AUDIT, MACHINE } from "../../../test/support/seccomp-abis.ts";
import { BPF_MAXINSNS } from "../abi/bpf.ts";
import type { Architecture } from "../architecture.ts";
import { CAPABILITIES, DEFAULT_CAPABILITIES } from "../capability.ts";
import { compileSeccomp } from "./compile.ts";
import { defaultSeccompProfile } from "./default-profile.ts";
import { type SyscallAbi, syscallTable } from "./syscall-table.ts";

const VERDICTS = new Map([
  [0x7fff0000, "allow"],
  [0x00050001, "EPERM"],
  [0x00050026, "ENOSYS"],
]);

/** A function that says what the default profile answers, for a container with these capabilities. */
function judge(...capabilities: string[]) {
  const filterOn = (machine: Architecture) =>
    compileSeccomp(defaultSeccompProfile(new Set(capabilities), machine), machine);
  const filters = { x86_64: filterOn("x86_64"), aarch64: filterOn("aarch64") };
  return (name: string, first = 0n, abi: SyscallAbi = "x86_64") => {
    const nr = syscallTable(abi).get(name);
    if (nr === undefined) throw new Error(`${abi} has no ${name}`);
    const { answer } = runFilter(filters[MACHINE[abi]], {
      arch: AUDIT[abi],
      nr,
      args: [first, 0n, 0n, 0n, 0n, 0n],
    });
    return VERDICTS.get(answer) ?? answer;
  };
}

const usual = judge(...DEFAULT_CAPABILITIES);

test("what programs do every day is allowed, through every ABI", () => {
  const names = [
    "read",
    "write",
    "openat",
    "mmap",
    "execve",
    "futex",
    "kill",
    "ptrace",
    "chmod",
    "getrandom",
  ];
  for (const abi of ABIS) {
    const lacking = { aarch64: "chmod", arm: "mmap" } as Partial<Record<SyscallAbi, string>>;
    for (const name of names.filter((name) => name !== lacking[abi]))
      expect(usual(name, 0n, abi)).toBe("allow");
  }
  for (const name of [
    "faccessat2",
    "openat2",
    "statx",
    "rseq",
    "close_range",
    "landlock_create_ruleset",
    "mseal",
  ]) {
    expect(usual(name)).toBe("allow");
    expect(usual(name, 0n, "aarch64")).toBe("allow");
  }
  for (const name of ["cacheflush", "set_tls", "breakpoint", "sync_file_range2", "arm_fadvise64_64"])
    expect(usual(name, 0n, "arm")).toBe("allow");
});

test("what reaches the kernel or the machine as a whole is refused", () => {
  const names =
    "io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key bpf kexec_load kexec_file_load " +
    "init_module finit_module delete_module swapon swapoff reboot acct settimeofday clock_settime iopl ioperm " +
    "userfaultfd perf_event_open open_by_handle_at quotactl nfsservctl lookup_dcookie syslog vhangup kcmp " +
    "process_madvise pidfd_getfd move_pages migrate_pages mbind set_mempolicy get_mempolicy uselib ustat sysfs " +
    "_sysctl create_module query_module get_kernel_syms fanotify_init pivot_root";
  for (const abi of ["x86_64", "aarch64"] as const) {
    const known = names.split(" ").filter((name) => syscallTable(abi).has(name));
    expect(known.length).toBeGreaterThan(30);
    for (const name of known) expect(usual(name, 0n, abi)).toBe("EPERM");
  }
});

test("namespaces and mounts cannot be made without SYS_ADMIN", () => {
  const names =
    "mount umount2 move_mount open_tree fsopen fsmount fsconfig fspick mount_setattr unshare setns sethostname";
  const admin = judge("SYS_ADMIN");
  for (const name of [...names.split(" "), "setdomainname", "bpf"]) {
    for (const abi of ["x86_64", "aarch64"] as const) {
      expect(usual(name, 0n, abi)).toBe("EPERM");
      expect(admin(name, 0n, abi)).toBe("allow");
    }
  }
});

test("clone makes threads and processes but no namespaces, and clone3 does not exist", () => {
  const CLONE_THREAD_FLAGS = 0x3d0f00n;
  expect(usual("clone", 17n)).toBe("allow");
  expect(usual("clone", CLONE_THREAD_FLAGS)).toBe("allow");
  const newNamespaces = [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n];
  for (const flag of newNamespaces) {
    for (const abi of ABIS) expect(usual("clone", flag | 17n, abi)).toBe("EPERM");
    expect(judge("SYS_ADMIN")("clone", flag)).toBe("allow");
  }
  for (const abi of ABIS) expect(usual("clone3", 0n, abi)).toBe("ENOSYS");
  expect(judge("SYS_ADMIN")("clone3")).toBe("allow");
});

test("each capability unlocks its calls and no others", () => {
  const unlocked = {
    BPF: "bpf",
    DAC_READ_SEARCH: "open_by_handle_at",
    PERFMON: "perf_event_open",
    SYS_BOOT: "reboot",
    SYS_CHROOT: "chroot",
    SYS_MODULE: "finit_module",
    SYS_NICE: "mbind",
    SYS_PACCT: "acct",
    SYS_PTRACE: "kcmp",
    SYS_RAWIO: "iopl",
    SYS_TIME: "clock_settime",
    SYS_TTY_CONFIG: "vhangup",
    SYSLOG: "syslog",
  };
  for (const [capability, name] of Object.entries(unlocked)) {
    const judged = judge(capability);
    for (const [other, otherName] of Object.entries(unlocked)) {
      expect(judged(otherName)).toBe(capability === other || name === otherName ? "allow" : "EPERM");
    }
  }
});

test("sockets of the hypervisor and of the kernel's crypto are refused, whatever the unused bits say", () => {
  const [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK] = [
    1n,
    2n,
    10n,
    16n,
    17n,
    38n,
    40n,
  ];
  for (const family of [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET]) {
    expect(usual("socket", family as bigint)).toBe("allow");
  }
  for (const family of [AF_ALG, AF_VSOCK, 46n]) {
    expect(usual("socket", family as bigint)).toBe("EPERM");
    expect(usual("socket", (1n << 32n) | (family as bigint))).toBe("EPERM");
    expect(usual("socket", family as bigint, "x32")).toBe("EPERM");
  }
});

test("personality may be one of five", () => {
  for (const value of [0n, 8n, 0x20000n, 0x20008n, 0xffffffffn])
    expect(usual("personality", value)).toBe("allow");
  for (const value of [0x40000n, 0x200000n, 1n << 32n]) expect(usual("personality", value)).toBe("EPERM");
});

test("calls that podrt has never heard of answer ENOSYS", () => {
  for (const abi of ABIS) {
    const filter = compileSeccomp(defaultSeccompProfile(new Set(), MACHINE[abi]), MACHINE[abi]);
    const nr = abi === "x32" ? 0x40000000 + 600 : 600;
    const { answer } = runFilter(filter, { arch: AUDIT[abi], nr, args: [0n, 0n, 0n, 0n, 0n, 0n] });
    expect(VERDICTS.get(answer)).toBe("ENOSYS");
  }
});

test("the filter is small, and no call needs more than a dozen comparisons to be told apart", () => {
  for (const machine of ["x86_64", "aarch64"] as const) {
    const filterOf = (capabilities: readonly string[]) =>
      compileSeccomp(defaultSeccompProfile(new Set(capabilities), machine), machine);
    const everything = filterOf(Object.keys(CAPABILITIES));
    const filter = filterOf([...DEFAULT_CAPABILITIES]);
    expect(Math.max(everything.length, filter.length) / 8).toBeLessThan(BPF_MAXINSNS / 4);
    for (const [name, nr] of syscallTable(machine)) {
      if (["socket", "clone", "personality"].includes(name)) continue;
      const { steps } = runFilter(filter, { arch: AUDIT[machine], nr, args: [0n, 0n, 0n, 0n, 0n, 0n] });
      expect(steps).toBeLessThan(20);
    }
  }
});
