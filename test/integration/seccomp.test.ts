// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_CAPABILITIES } from "../../src/linux/capability.ts";
import { compileSeccomp } from "../../src/linux/seccomp/compile.ts";
import { defaultSeccompFilter, seccompFilterFrom } from "../../src/linux/seccomp/filters.ts";
import type { SeccompProfile } from "../../src/linux/seccomp/profile.ts";

// A small C program installs a filter that podrt compiled and makes the system calls it is told to, so
// that the kernel itself says what the filter does.
const PROBE = `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* probe FILTER-FILE FLAGS NR A0 A1 A2 [NR A0 A1 A2 ...]; prints an errno, 0 for success, for each call. */
int main(int argc, char **argv) {
  static struct sock_filter code[4096];
  FILE *file = fopen(argv[1], "r");
  struct sock_fprog program = {.len = fread(code, sizeof code[0], 4096, file), .filter = code};
  fclose(file);
  setvbuf(stdout, NULL, _IONBF, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 90;
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, strtoul(argv[2], NULL, 0), &program) != 0) return 91;
  for (char **call = argv + 3; call + 3 < argv + argc; call += 4) {
    errno = 0;
    long result = syscall(strtol(call[0], NULL, 0), strtoul(call[1], NULL, 0), strtoul(call[2], NULL, 0),
                          strtoul(call[3], NULL, 0));
    printf("%d\\n", result < 0 ? errno : 0);
  }
  return 0;
}`;

const EPERM = 1;
const EBADF = 9;
const ENOSYS = 38;
const EFAULT = 14;

const gcc = Bun.which("gcc");
let directory = "";

beforeAll(async () => {
  if (gcc === null) return;
  directory = mkdtempSync(join(tmpdir(), "podrt-seccomp-"));
  writeFileSync(join(directory, "probe.c"), PROBE);
  const compiler = Bun.spawn([gcc, "-O1", "-o", join(directory, "probe"), join(directory, "probe.c")]);
  expect(await compiler.exited).toBe(0);
});

afterAll(() => {
  if (directory !== "") rmSync(directory, { recursive: true });
});

type Call = readonly [nr: number, ...args: (number | bigint)[]];

/** What the kernel answers to each call under the filter, and how the process ended. */
async function probe(instructions: Uint8Array, calls: readonly Call[], flags = 0) {
  const file = join(directory, "filter");
  writeFileSync(file, instructions);
  const words = calls.flatMap((call) => [0, 1, 2, 3].map((index) => `${call[index] ?? 0}`));
  const child = Bun.spawn([join(directory, "probe"), file, `${flags}`, ...words], { stdout: "pipe" });
  const output = await new Response(child.stdout).text();
  await child.exited;
  const errnos = output.trim().split("\n").filter(Boolean).map(Number);
  return { errnos, exitCode: child.exitCode, signal: child.signalCode };
}

const NR = {
  getpid: 39,
  socket: 41,
  clone: 56,
  personality: 135,
  mount: 165,
  add_key: 248,
  unshare: 272,
  dup3: 292,
  bpf: 321,
  io_uring_setup: 425,
  clone3: 435,
};

const defaultFilter = () => defaultSeccompFilter(new Set(DEFAULT_CAPABILITIES)).instructions;

// Without a C compiler there is no program to put under a filter.
describe.skipIf(gcc === null)("the kernel under a filter of podrt's (skipped without gcc)", () => {
  test("accepts the default filter and follows it", async () => {
    const calls: [Call, number][] = [
      [[NR.getpid], 0],
      [[NR.mount], EPERM],
      [[NR.unshare, 0x10000000], EPERM],
      [[NR.clone, 0x10000000], EPERM],
      [[NR.clone3, 0, 0], ENOSYS],
      [[NR.bpf, 0, 0, 0], EPERM],
      [[NR.add_key], EPERM],
      [[NR.io_uring_setup], EPERM],
      [[NR.socket, 40, 1, 0], EPERM],
      [[NR.socket, 0x1_0000_0028, 1, 0], EPERM],
      [[NR.socket, 1, 1, 0], 0],
      [[NR.personality, 0xffffffff], 0],
      [[NR.personality, 0x0040000], EPERM],
      [[1000], ENOSYS],
      // A refused call of the x32 ABI, which most kernels do not have, is refused all the same.
      [[0x40000000 + NR.mount], EPERM],
    ];
    const { errnos, exitCode } = await probe(
      defaultFilter(),
      calls.map(([call]) => call),
    );
    expect(exitCode).toBe(0);
    expect(errnos).toEqual(calls.map(([, errno]) => errno));
  });

  test("lets a container with SYS_ADMIN mount", async () => {
    const { instructions } = defaultSeccompFilter(new Set([...DEFAULT_CAPABILITIES, "SYS_ADMIN"]));
    const { errnos } = await probe(instructions, [[NR.mount, 1, 1, 1], [NR.clone3, 0, 0], [NR.add_key]]);
    expect(errnos).toEqual([EFAULT, 22, EPERM]);
  });

  test("compares all 64 bits of an argument, in every way", async () => {
    const value = 0x1_0000_0005n;
    const answers = {
      SCMP_CMP_EQ: [0x1_0000_0005n],
      SCMP_CMP_NE: [5n, 0x2_0000_0005n, 0x1_0000_0004n, 0x1_0000_0006n],
      SCMP_CMP_LT: [5n, 0x1_0000_0004n],
      SCMP_CMP_LE: [5n, 0x1_0000_0004n, 0x1_0000_0005n],
      SCMP_CMP_GT: [0x2_0000_0005n, 0x1_0000_0006n],
      SCMP_CMP_GE: [0x2_0000_0005n, 0x1_0000_0005n, 0x1_0000_0006n],
      SCMP_CMP_MASKED_EQ: [0x1_0000_0004n, 0x1_0000_0006n],
    } as const;
    const words = [5n, 0x2_0000_0005n, 0x1_0000_0004n, 0x1_0000_0005n, 0x1_0000_0006n];
    for (const [op, matching] of Object.entries(answers)) {
      const masked = op === "SCMP_CMP_MASKED_EQ";
      const condition = {
        index: 1,
        op: op as keyof typeof answers,
        value: masked ? 0x1_0000_0005n : value,
        valueTwo: masked ? 0x1_0000_0004n : 0n,
      };
      const profile: SeccompProfile = {
        defaultAction: "SCMP_ACT_ALLOW",
        architectures: [],
        flags: [],
        syscalls: [{ names: ["dup3"], action: "SCMP_ACT_ERRNO", errnoRet: 77, args: [condition] }],
      };
      const { errnos } = await probe(
        compileSeccomp(profile),
        words.map((word) => [NR.dup3, 1000, word, 0]),
      );
      // An argument of dup3 has 32 bits for the kernel: 5, 4 and 6, so what passes finds 1000 not open.
      expect(errnos).toEqual(
        words.map((word) => ((matching as readonly bigint[]).includes(word) ? 77 : EBADF)),
      );
    }
  });

  test("kills, traps and traces as it is told", async () => {
    const endings = [
      ["SCMP_ACT_KILL_PROCESS", "SIGSYS"],
      ["SCMP_ACT_KILL_THREAD", "SIGSYS"],
      ["SCMP_ACT_TRAP", "SIGSYS"],
    ] as const;
    for (const [action, signal] of endings) {
      const text = JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["dup3"], action }],
      });
      const { instructions } = seccompFilterFrom(text, "/kill.json", new Set());
      const result = await probe(instructions, [[NR.getpid], [NR.dup3]]);
      expect(result.errnos).toEqual([0]);
      expect(result.signal).toBe(signal);
    }
    const traced = seccompFilterFrom(
      JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["dup3"], action: "SCMP_ACT_TRACE" }],
      }),
      "/trace.json",
      new Set(),
    );
    // Without a tracer the kernel says that there is no such call.
    expect((await probe(traced.instructions, [[NR.dup3]])).errnos).toEqual([ENOSYS]);
  });

  test("accepts the flags of a profile", async () => {
    const text = JSON.stringify({
      defaultAction: "SCMP_ACT_LOG",
      flags: ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
    });
    const { instructions, flags } = seccompFilterFrom(text, "/flags.json", new Set());
    const { exitCode, errnos } = await probe(instructions, [[NR.getpid]], flags);
    expect([exitCode, errnos]).toEqual([0, [0]]);
  });

  test("accepts a filter of thousands of instructions, with jumps beyond 255", async () => {
    const args = Array.from({ length: 60 }, (_, value) => ({
      index: value % 6,
      value: BigInt(value) << 33n,
      valueTwo: 0n,
      op: "SCMP_CMP_EQ" as const,
    }));
    const names = [
      "dup3",
      "dup",
      "dup2",
      "close",
      "flock",
      "fsync",
      "fchmod",
      "fchown",
      "ftruncate",
      "fstat",
    ];
    const profile: SeccompProfile = {
      defaultAction: "SCMP_ACT_ALLOW",
      architectures: [],
      flags: [],
      syscalls: names.map((name, index) => ({
        names: [name],
        action: "SCMP_ACT_ERRNO",
        errnoRet: 100 + index,
        args,
      })),
    };
    const instructions = compileSeccomp(profile);
    expect(instructions.length / 8).toBeGreaterThan(2400);
    const { errnos } = await probe(instructions, [
      [NR.dup3, 1000, 1n << 33n, 0],
      [32, 1n << 32n],
      [32, 6n << 33n],
    ]);
    expect(errnos).toEqual([100, 0, 101]);
  });
});
