// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  CAPABILITIES,
  type CapabilityName,
  capabilityMask,
  capabilityNames,
  DEFAULT_CAPABILITIES,
  daemonCapabilities,
  parseCapability,
} from "./capability.ts";

const ALL = Object.keys(CAPABILITIES) as CapabilityName[];

test("a capability is recognised in any case, with and without CAP_", () => {
  for (const text of ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"]) {
    expect(parseCapability(text)).toBe("NET_ADMIN");
  }
});

test("what is no capability is not recognised", () => {
  for (const text of ["", "CAP_", "ALL", "CAP_CAP_KILL", "NET-ADMIN", "toString", "constructor"]) {
    expect(parseCapability(text)).toBeUndefined();
  }
});

test("a set and its mask are the same thing", () => {
  fc.assert(
    fc.property(fc.subarray(ALL), (names) => {
      expect([...capabilityNames(capabilityMask(names))].sort()).toEqual([...names].sort());
    }),
  );
});

test("the default set has the mask that runtimes are known for", () => {
  expect(capabilityMask(DEFAULT_CAPABILITIES)).toBe(0xa80425fbn);
});

test("this process's capabilities are what the kernel shows in its status file", async () => {
  const status = await Bun.file("/proc/self/status").text();
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1]}`);
  expect(capabilityMask(daemonCapabilities()) & ~effective).toBe(0n);
  expect(capabilityNames(1n << 63n).size).toBe(0);
});
