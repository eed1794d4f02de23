// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { PodrtError } from "../../src/errors.ts";
import { compileSeccomp } from "../../src/linux/seccomp/compile.ts";
import { parseSeccompProfile } from "../../src/linux/seccomp/profile.ts";
import { runFilter } from "../support/classic-bpf.ts";
import { fuzz, fuzzTimeoutMs, mutatedBytes, mutatedJson } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const subject = {
  capabilities: new Set(["SYS_ADMIN"]),
  kernelRelease: "6.18.1",
  architecture: "x86_64",
} as const;
const profile = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] }],
  flags: ["SECCOMP_FILTER_FLAG_LOG"],
  syscalls: [
    { names: ["read", "write", "no_such_call"], action: "SCMP_ACT_ALLOW" },
    {
      names: ["personality"],
      action: "SCMP_ACT_ALLOW",
      args: [{ index: 0, value: 8, valueTwo: 0, op: "SCMP_CMP_EQ" }],
      excludes: { caps: ["CAP_BPF"], minKernel: "9.0" },
    },
    {
      names: ["clone"],
      action: "SCMP_ACT_KILL_PROCESS",
      includes: { caps: ["CAP_SYS_ADMIN"], arches: ["amd64"] },
    },
  ],
};
const MAX_INSTRUCTIONS = 4096;

test("any profile is compiled to a filter that answers every call, or refused by the field's name", () => {
  let compiled = 0;
  const texts = fc.oneof(
    { weight: 5, arbitrary: mutatedJson(profile).map((document) => JSON.stringify(document) ?? "") },
    {
      weight: 2,
      arbitrary: mutatedBytes(Buffer.from(JSON.stringify(profile))).map((bytes) => bytes.toString()),
    },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 100 }) },
  );
  fc.assert(
    fc.property(texts, fc.nat(500), fc.bigInt(0n, 2n ** 64n - 1n), (text, nr, argument) => {
      let filter: Uint8Array;
      try {
        filter = compileSeccomp(parseSeccompProfile(text, "p.json", subject), "x86_64");
      } catch (error) {
        expect(error).toBeInstanceOf(PodrtError);
        expect((error as PodrtError).kind).not.toBe("Internal");
        expect((error as Error).message).toMatch(/^p\.json[^\n]{3,}$/);
        return;
      }
      compiled++;
      expect(filter.length % 8).toBe(0);
      expect(filter.length / 8).toBeLessThanOrEqual(MAX_INSTRUCTIONS);
      for (const arch of [0xc000003e, 0x40000003, 0xdeadbeef]) {
        expect(runFilter(filter, { arch, nr, args: Array(6).fill(argument) }).answer).toBeNumber();
      }
    }),
    fuzz(300),
  );
  expect(compiled).toBeGreaterThan(20);
});
