// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { __X32_SYSCALL_BIT } from "../../src/linux/abi/seccomp.ts";
import { ARCHITECTURE, type Architecture } from "../../src/linux/architecture.ts";
import { type SyscallAbi, syscallTable } from "../../src/linux/seccomp/syscall-table.ts";
import { FIRST_PRIVATE } from "../../src/linux/seccomp/syscalls-arm.ts";
import { ABIS } from "../support/seccomp-abis.ts";
import type { Constant } from "./print-constants.ts";

// Every constant of src/linux/abi, as each machine would see it, read from that machine's headers by a C program that
// is made from their names. A new file there is picked up by itself; a new header goes into the list.

const HEADERS = [
  "errno.h",
  "fcntl.h",
  "signal.h",
  "stddef.h",
  "stdio.h",
  "sys/epoll.h",
  "sys/ioctl.h",
  "sys/mount.h",
  "sys/resource.h",
  "sys/socket.h",
  "sys/stat.h",
  "sys/syscall.h",
  "sys/un.h",
  "net/if_arp.h",
  "netinet/in.h",
  "linux/audit.h",
  "linux/bpf.h",
  "linux/bpf_common.h",
  "linux/capability.h",
  "linux/filter.h",
  "linux/fs.h",
  "linux/if.h",
  "linux/if_addr.h",
  "linux/if_ether.h",
  "linux/if_link.h",
  "linux/ioprio.h",
  "linux/ip.h",
  "linux/keyctl.h",
  "linux/magic.h",
  "linux/mount.h",
  "linux/netfilter.h",
  "linux/netfilter_ipv4.h",
  "linux/netfilter/nf_conntrack_common.h",
  "linux/netfilter/nf_tables.h",
  "linux/netfilter/nfnetlink.h",
  "linux/netfilter/nfnetlink_conntrack.h",
  "linux/netlink.h",
  "linux/openat2.h",
  "linux/prctl.h",
  "linux/rtnetlink.h",
  "linux/sched.h",
  "linux/seccomp.h",
  "linux/veth.h",
  "linux/version.h",
];

/** Constants that older headers lack, with the kernel they came with. */
const SINCE: Readonly<Record<string, string>> = {
  __NR_cachestat: "6.5",
  __NR_fchmodat2: "6.6",
  __NR_map_shadow_stack: "6.6",
  __NR_futex_wake: "6.7",
  __NR_futex_wait: "6.7",
  __NR_futex_requeue: "6.7",
  __NR_statmount: "6.8",
  __NR_listmount: "6.8",
  __NR_lsm_get_self_attr: "6.8",
  __NR_lsm_set_self_attr: "6.8",
  __NR_lsm_list_modules: "6.8",
  __NR_mseal: "6.10",
  __NR_uretprobe: "6.11",
  __NR_setxattrat: "6.13",
  __NR_getxattrat: "6.13",
  __NR_listxattrat: "6.13",
  __NR_removexattrat: "6.13",
  __NR_open_tree_attr: "6.15",
  __NR_file_getattr: "6.17",
  __NR_file_setattr: "6.17",
};

/** Constants that are not a C name themselves. */
const SPELLED: Readonly<Record<string, string>> = {
  // An int in C, of which a 16-bit field keeps the lower half.
  NLA_TYPE_MASK: "(NLA_TYPE_MASK & 0xffff)",
};

/** Facts that are in no header for user space. */
const IN_NO_HEADER: ReadonlySet<string> = new Set([
  "CTA_FILTER_F_CTA_IP_SRC", // the kernel's net/netfilter/nf_conntrack_netlink.c
  "LOOPBACK_INDEX", // LOOPBACK_IFINDEX of the kernel's include/net/flow.h
]);

/** The C expression for an exported constant: `IFINFOMSG_BYTES` is the size of struct ifinfomsg. */
function expressionOf(name: string): string {
  const structure = /^([A-Z0-9_]+)_BYTES$/.exec(name)?.[1];
  return structure === undefined ? (SPELLED[name] ?? name) : `sizeof(struct ${structure.toLowerCase()})`;
}

/** How the members of an exported table are spelled in C. */
const TABLES: Readonly<Record<string, (key: string) => string>> = {
  ERRNO: (key) => key,
  SIGNAL: (key) => key,
  RLIMIT: (key) => key,
  IOPRIO_CLASS: (key) => key,
  SYS: (key) => `__NR_${key}`,
  COMMON_SYS: (key) => `__NR_${key}`,
  X86_64_SYS: (key) => `__NR_${key}`,
  AARCH64_SYS: (key) => `__NR_${key}`,
  CAPABILITIES: (key) => `CAP_${key}`,
  SECCOMP_DATA: (key) => `offsetof(struct seccomp_data, ${key})`,
  EPOLL_EVENT: (key) => `offsetof(struct epoll_event, ${key})`,
};

/** What is of one machine only. */
const OF_ONE_MACHINE: Readonly<Record<string, Architecture>> = {
  X86_64_SYS: "x86_64",
  AARCH64_SYS: "aarch64",
  __X32_SYSCALL_BIT: "x86_64",
};

/** What src/linux/abi exports on a machine, with its C expression. */
async function constantsOf(architecture: Architecture): Promise<(Constant & { expression: string })[]> {
  const define = `process.arch="${{ x86_64: "x64", aarch64: "arm64" }[architecture]}"`;
  const program = join(import.meta.dir, "print-constants.ts");
  const printer = Bun.spawn([process.execPath, "--define", define, program], { stderr: "inherit" });
  const constants = (await new Response(printer.stdout).json()) as Constant[];
  return constants
    .filter(({ name }) => !IN_NO_HEADER.has(name) && (OF_ONE_MACHINE[name] ?? architecture) === architecture)
    .map((constant) => {
      const { file, name, key } = constant;
      if (key === undefined) return { ...constant, expression: expressionOf(name) };
      const spell = TABLES[name];
      if (spell === undefined)
        throw new Error(`${file} exports the table ${name}: say how it is spelled in C`);
      return { ...constant, expression: spell(key) };
    });
}

/** In the headers, and no system call. */
const NO_CALL: ReadonlySet<string> = new Set(["syscalls", "arch_specific_syscall"]);

const gcc = Bun.which("gcc");
let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-abi-"));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** A machine's headers that were installed beside those of this one, or unpacked by scripts/fetch-packages.sh. */
function foreignHeaders(triplet: string): string | undefined {
  const path = `/usr/${triplet}/include`;
  const unpacked = resolve(import.meta.dir, `../../.build/packages/root${path}`);
  return [path, unpacked].find((candidate) => existsSync(join(candidate, "asm/unistd.h")));
}

/**
 * Options under which this machine's compiler reads the headers of another. What it makes of them runs here: both have
 * the same sizes of types and the same order of bytes.
 */
function headerOptions(architecture: Architecture): string[] | undefined {
  if (architecture === ARCHITECTURE) return [];
  const headers = foreignHeaders(`${architecture}-linux-gnu`);
  if (headers === undefined) return undefined;
  const own = Bun.spawnSync([gcc as string, "-print-file-name=include"])
    .stdout.toString()
    .trim();
  return [
    "-nostdinc",
    "-isystem",
    own,
    "-isystem",
    headers,
    `-U__${ARCHITECTURE}__`,
    `-D__${architecture}__`,
  ];
}

async function compile(
  source: string,
  options: readonly string[],
): Promise<{ program: string; errors: string }> {
  const program = join(directory, "constants");
  writeFileSync(`${program}.c`, source);
  const compiler = Bun.spawn(
    [gcc as string, "-w", "-fmax-errors=0", ...options, "-o", program, `${program}.c`],
    {
      stderr: "pipe",
      env: { ...process.env, LC_ALL: "C" },
    },
  );
  const errors = await new Response(compiler.stderr).text();
  return { program, errors: (await compiler.exited) === 0 ? "" : errors };
}

/** What the headers say, by expression; what they do not know is missing. */
async function headerValues(
  expressions: readonly string[],
  options: readonly string[],
): Promise<Map<string, number>> {
  const known = new Set(expressions);
  for (let attempt = 0; attempt < 3; attempt++) {
    const lines = [...known].map((text) => `  printf("%s=%lld\\n", "${text}", (long long)(${text}));`);
    const includes = HEADERS.map((header) => `#include <${header}>`);
    const source = ["#define _GNU_SOURCE", ...includes, "int main(void) {", ...lines, "}", ""].join("\n");
    const { program, errors } = await compile(source, options);
    if (errors === "") {
      const output = await new Response(Bun.spawn([program]).stdout).text();
      return new Map(
        output
          .trim()
          .split("\n")
          .map((line) => {
            const [text = "", value] = line.split("=");
            return [text, Number(value)];
          }),
      );
    }
    const undeclared = [...errors.matchAll(/'(\w+)' undeclared/g)].map((match) => match[1] as string);
    if (undeclared.length === 0) throw new Error(errors);
    for (const name of undeclared) known.delete(name);
  }
  throw new Error("the C program does not compile");
}

function isAtLeast(version: number, release: string): boolean {
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return version >> 8 >= major * 256 + minor;
}

/** The numbers that a header defines, where it gives them by other names of its own (`__NR3264_`) or as sums. */
async function syscallNumbers(options: readonly string[]): Promise<Map<string, number>> {
  const preprocessor = Bun.spawn([gcc as string, "-E", "-dM", ...options, "-x", "c", "/dev/null"]);
  const text = await new Response(preprocessor.stdout).text();
  const macros = new Map([["__X32_SYSCALL_BIT", `${__X32_SYSCALL_BIT}`]]);
  for (const [, macro = "", value = ""] of text.matchAll(/^#define (__(?:ARM_)?NR\w+) (.+)$/gm))
    macros.set(macro, value);
  const numberOf = (expression: string): number => {
    const terms = expression.replace(/[()]/g, "").split("+");
    return terms.reduce((sum, term) => sum + termOf(term.trim()), 0);
  };
  const termOf = (term: string) => (macros.has(term) ? numberOf(macros.get(term)!) : Number(term));
  const numbers = new Map<string, number>();
  for (const [macro, value] of macros) {
    const name = /^__(?:ARM_)?NR_([a-z0-9_]+)$/.exec(macro)?.[1];
    if (name !== undefined && !NO_CALL.has(name)) numbers.set(name, numberOf(value));
  }
  return numbers;
}

for (const architecture of ["x86_64", "aarch64"] as const) {
  const options = gcc === null ? undefined : headerOptions(architecture);
  // Without a C compiler there is nobody to read the headers.
  describe.skipIf(options === undefined)(
    `constants of ${architecture} (skipped without gcc and its headers)`,
    () => {
      test("every constant of src/linux/abi has the value of the headers", async () => {
        const constants = await constantsOf(architecture);
        const expressions = [...new Set(constants.map(({ expression }) => expression))];
        const values = await headerValues([...expressions, "LINUX_VERSION_CODE"], options ?? []);
        const version = values.get("LINUX_VERSION_CODE") as number;
        const wrong = constants.flatMap(({ file, expression, value }) => {
          const inHeader = values.get(expression);
          if (inHeader === value) return [];
          const since = SINCE[expression];
          if (inHeader === undefined && since !== undefined && !isAtLeast(version, since)) return [];
          return [`${file}: ${expression} is ${value}, but ${inHeader ?? "nothing"} in the headers`];
        });
        expect(wrong).toEqual([]);
        expect(constants.length).toBeGreaterThan(700);
      });
    },
  );
}

/** Options under which the compiler sees the numbers of an ABI; undefined where the headers are not here. */
const NUMBERS: Readonly<Record<SyscallAbi, () => string[] | undefined>> = {
  x86_64: () => includedFrom(headerOptions("x86_64"), "asm/unistd.h"),
  x86: () => includedFrom(headerOptions("x86_64"), "asm/unistd_32.h"),
  x32: () => includedFrom(headerOptions("x86_64"), "asm/unistd_x32.h"),
  aarch64: () => includedFrom(headerOptions("aarch64"), "asm/unistd.h"),
  arm: () => {
    const headers = foreignHeaders("arm-linux-gnueabihf");
    const machine = [
      "-nostdinc",
      "-isystem",
      headers ?? "",
      `-U__${ARCHITECTURE}__`,
      "-D__arm__",
      "-D__ARM_EABI__",
    ];
    return headers === undefined ? undefined : includedFrom(machine, "asm/unistd.h");
  },
};

function includedFrom(options: readonly string[] | undefined, header: string): string[] | undefined {
  return options === undefined ? undefined : [...options, "-include", header];
}

/** The highest number below those that an ABI has for itself, in which no newer kernel adds calls. */
function newestOf(numbers: Iterable<number>, abi: SyscallAbi): number {
  const firstOwn = { x32: 0x40000000 + 512, arm: FIRST_PRIVATE } as Partial<Record<SyscallAbi, number>>;
  return Math.max(...[...numbers].filter((nr) => nr < (firstOwn[abi] ?? Number.POSITIVE_INFINITY)));
}

for (const abi of ABIS) {
  const options = gcc === null ? undefined : NUMBERS[abi]();
  // As above.
  test.skipIf(options === undefined)(
    `the system calls of ${abi} are those of the headers (skipped without)`,
    async () => {
      const inHeader = await syscallNumbers(options ?? []);
      expect(inHeader.size).toBeGreaterThan(300);
      const ours = syscallTable(abi);
      expect([...inHeader].filter(([name, nr]) => ours.get(name) !== nr)).toEqual([]);
      const newest = newestOf(inHeader.values(), abi);
      const isOlder = (name: string, nr: number) => nr <= newest && SINCE[`__NR_${name}`] === undefined;
      const beyond = [...ours].filter(([name, nr]) => !inHeader.has(name) && isOlder(name, nr));
      expect(beyond).toEqual([]);
    },
  );
}
