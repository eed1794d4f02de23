// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { syscallTable } from "../../src/linux/seccomp/syscall-table.ts";

// Every constant of src/linux/abi, read from the system's headers by a C program that is made from their
// names. A new file there is picked up by itself; a new header goes into the list.

const ABI = join(import.meta.dir, "../../src/linux/abi");

const HEADERS = [
  "errno.h",
  "fcntl.h",
  "signal.h",
  "stddef.h",
  "stdio.h",
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
  CAPABILITIES: (key) => `CAP_${key}`,
  SECCOMP_DATA: (key) => `offsetof(struct seccomp_data, ${key})`,
};

interface Constant {
  readonly file: string;
  readonly expression: string;
  readonly value: number;
}

async function constantsOf(file: string): Promise<Constant[]> {
  const module: Record<string, unknown> = await import(join(ABI, file));
  return Object.entries(module).flatMap(([name, value]) => {
    if (IN_NO_HEADER.has(name)) return [];
    if (typeof value === "number" || typeof value === "bigint") {
      return [{ file, expression: expressionOf(name), value: Number(value) }];
    }
    if (typeof value !== "object" || value === null) return [];
    const spell = TABLES[name];
    if (spell === undefined) throw new Error(`${file} exports the table ${name}: say how it is spelled in C`);
    return Object.entries(value).map(([key, member]) => ({
      file,
      expression: spell(key),
      value: member as number,
    }));
  });
}

const gcc = Bun.which("gcc");
let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-abi-"));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

async function compile(source: string): Promise<{ program: string; errors: string }> {
  const program = join(directory, "constants");
  writeFileSync(`${program}.c`, source);
  const compiler = Bun.spawn([gcc as string, "-w", "-fmax-errors=0", "-o", program, `${program}.c`], {
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C" },
  });
  const errors = await new Response(compiler.stderr).text();
  return { program, errors: (await compiler.exited) === 0 ? "" : errors };
}

/** What the headers say, by expression; what they do not know is missing. */
async function headerValues(expressions: readonly string[]): Promise<Map<string, number>> {
  const known = new Set(expressions);
  for (let attempt = 0; attempt < 3; attempt++) {
    const lines = [...known].map((text) => `  printf("%s=%lld\\n", "${text}", (long long)(${text}));`);
    const includes = HEADERS.map((header) => `#include <${header}>`);
    const source = ["#define _GNU_SOURCE", ...includes, "int main(void) {", ...lines, "}", ""].join("\n");
    const { program, errors } = await compile(source);
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

// Without a C compiler there is nobody to read the headers.
describe.skipIf(gcc === null)("constants (skipped without gcc)", () => {
  test("every constant of src/linux/abi has the value of the system's headers", async () => {
    const files = readdirSync(ABI).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
    const constants = (await Promise.all(files.map(constantsOf))).flat();
    const expressions = [...new Set(constants.map(({ expression }) => expression))];
    const values = await headerValues([...expressions, "LINUX_VERSION_CODE"]);
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

  test("the tables of the 32-bit ABIs have the numbers of the system's headers", async () => {
    for (const [abi, flag] of [
      ["x86", "asm/unistd_32.h"],
      ["x32", "asm/unistd_x32.h"],
    ] as const) {
      const preprocessor = Bun.spawn([gcc as string, "-E", "-dM", "-include", flag, "-x", "c", "/dev/null"]);
      const text = await new Response(preprocessor.stdout).text();
      const macros = [...text.matchAll(/^#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?([0-9]+)\)?$/gm)];
      const inHeader = new Map(macros.map(([, name, nr]) => [name as string, Number(nr)]));
      expect(inHeader.size).toBeGreaterThan(300);
      const ours = syscallTable(abi);
      const bit = abi === "x32" ? 0x40000000 : 0;
      expect([...inHeader].filter(([name, nr]) => ours.get(name) !== nr + bit)).toEqual([]);
      // What x32 has for itself begins at 512; below, newer kernels may have added calls.
      const newest = Math.max(...[...inHeader.values()].filter((nr) => nr < 512));
      const beyond = [...ours].filter(([name, nr]) => !inHeader.has(name) && nr - bit <= newest);
      expect(beyond).toEqual([]);
    }
  });
});
