// SPDX-License-Identifier: Apache-2.0
import { dlopen, FFIType, ptr } from "bun:ffi";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ARCHITECTURE, type Architecture } from "../../src/linux/architecture.ts";
import type { SeccompCondition, SeccompProfile } from "../../src/linux/seccomp/profile.ts";

// libseccomp compiles filters for most runtimes: what it makes of a profile is what profiles are written against.
// It is loaded into the test's own process, from the system or from where scripts/fetch-packages.sh unpacks it.

const DEBIAN = `/usr/lib/${ARCHITECTURE}-linux-gnu/libseccomp.so.2`;
const LIBRARIES = [
  DEBIAN,
  "/usr/lib64/libseccomp.so.2",
  "/usr/lib/libseccomp.so.2",
  resolve(import.meta.dir, `../../.build/packages/root${DEBIAN}`),
];

const { i32, u32, ptr: pointer, cstring } = FFIType;
const SYMBOLS = {
  seccomp_init: { args: [u32], returns: pointer },
  seccomp_release: { args: [pointer], returns: FFIType.void },
  seccomp_arch_add: { args: [pointer, u32], returns: i32 },
  seccomp_arch_remove: { args: [pointer, u32], returns: i32 },
  seccomp_attr_set: { args: [pointer, i32, u32], returns: i32 },
  seccomp_syscall_resolve_name: { args: [cstring], returns: i32 },
  seccomp_rule_add_array: { args: [pointer, u32, i32, u32, pointer], returns: i32 },
  seccomp_export_bpf: { args: [pointer, i32], returns: i32 },
} as const;

// seccomp.h of libseccomp.
const ARCHITECTURES: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_ARM: 0x40000028,
};
const NATIVE: Readonly<Record<Architecture, number>> = { x86_64: 0xc000003e, aarch64: 0xc00000b7 };
/** Those of 32 bits that the kernel of a machine runs. */
const NARROW: Readonly<Record<Architecture, readonly string[]>> = {
  x86_64: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  aarch64: ["SCMP_ARCH_ARM"],
};
const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};
const OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].map((name) => `SCMP_CMP_${name}`);
const SCMP_FLTATR_ACT_BADARCH = 2;
const NR_SCMP_ERROR = -1;
const ARG_CMP_BYTES = 24;

export interface Libseccomp {
  knows(name: string): boolean;
  /** The profile as struct sock_filter[] for a machine; undefined where libseccomp refuses one of its rules. */
  compile(profile: SeccompProfile, machine: Architecture): Uint8Array | undefined;
}

/** Undefined where the library is not installed. */
export function loadLibseccomp(): Libseccomp | undefined {
  const path = LIBRARIES.find((candidate) => existsSync(candidate));
  if (path === undefined) return undefined;
  const { symbols } = dlopen(path, SYMBOLS);
  const numberOf = (name: string) =>
    symbols.seccomp_syscall_resolve_name(Buffer.from(`${name}\0`) as unknown as string);

  const compile = (profile: SeccompProfile, machine: Architecture): Uint8Array | undefined => {
    const byDefault = actionOf(profile.defaultAction, profile.defaultErrnoRet);
    const context = symbols.seccomp_init(byDefault);
    if (context === null) throw new Error("seccomp_init failed");
    const must = (what: string, result: number) => {
      if (result !== 0) throw new Error(`${what} answered ${result}`);
    };
    try {
      must(
        "seccomp_attr_set",
        symbols.seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, ACTIONS["SCMP_ACT_KILL_PROCESS"]!),
      );
      if (machine !== ARCHITECTURE) {
        must("seccomp_arch_add", symbols.seccomp_arch_add(context, NATIVE[machine]));
        must("seccomp_arch_remove", symbols.seccomp_arch_remove(context, NATIVE[ARCHITECTURE]));
      }
      for (const name of profile.architectures.filter((name) => NARROW[machine].includes(name))) {
        const token = ARCHITECTURES[name];
        if (token !== undefined) must("seccomp_arch_add", symbols.seccomp_arch_add(context, token));
      }
      for (const { names, action, errnoRet, args } of profile.syscalls) {
        const answer = actionOf(action, errnoRet);
        if (answer === byDefault) continue;
        // As runc does: several conditions on one argument become rules of their own.
        const repeats = new Set(args.map(({ index }) => index)).size < args.length;
        for (const conditions of repeats ? args.map((arg) => [arg]) : [args]) {
          const encoded = encode(conditions);
          for (const name of names) {
            const nr = numberOf(name);
            if (nr === NR_SCMP_ERROR) continue;
            const rules = encoded.length === 0 ? null : ptr(encoded);
            const result = symbols.seccomp_rule_add_array(context, answer, nr, conditions.length, rules);
            if (result !== 0) return undefined;
          }
        }
      }
      return exported((fd) => must("seccomp_export_bpf", symbols.seccomp_export_bpf(context, fd)));
    } finally {
      symbols.seccomp_release(context);
    }
  };
  return { knows: (name) => numberOf(name) !== NR_SCMP_ERROR, compile };
}

function actionOf(action: string, errnoRet = 1): number {
  const carries = action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE";
  return (ACTIONS[action]! | (carries ? errnoRet : 0)) >>> 0;
}

/** struct scmp_arg_cmp[]: argument, operator, two data. */
function encode(conditions: readonly SeccompCondition[]): Uint8Array {
  const bytes = new Uint8Array(conditions.length * ARG_CMP_BYTES);
  const view = new DataView(bytes.buffer);
  conditions.forEach(({ index, op, value, valueTwo }, at) => {
    view.setUint32(at * ARG_CMP_BYTES, index, true);
    view.setUint32(at * ARG_CMP_BYTES + 4, OPERATORS.indexOf(op) + 1, true);
    view.setBigUint64(at * ARG_CMP_BYTES + 8, value, true);
    view.setBigUint64(at * ARG_CMP_BYTES + 16, valueTwo, true);
  });
  return bytes;
}

function exported(write: (fd: number) => void): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), "podrt-libseccomp-"));
  try {
    const file = join(directory, "filter");
    const fd = openSync(file, "w");
    try {
      write(fd);
    } finally {
      closeSync(fd);
    }
    return new Uint8Array(readFileSync(file));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
