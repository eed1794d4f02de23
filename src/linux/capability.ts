// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { CAPABILITIES, type CapabilityName } from "./abi/capability.ts";

export { CAPABILITIES, type CapabilityName };

/** Every capability that podrt has a name for: what a process has in a user namespace that it has just entered. */
export const ALL_CAPABILITIES: ReadonlySet<CapabilityName> = new Set(
  Object.keys(CAPABILITIES) as CapabilityName[],
);

/** What a container has when its configuration says nothing (the set of the other CRI runtimes). */
export const DEFAULT_CAPABILITIES: readonly CapabilityName[] = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
];

/** `net_admin`, `CAP_NET_ADMIN` and the like to `NET_ADMIN`; undefined for what is no capability. */
export function parseCapability(text: string): CapabilityName | undefined {
  const upper = text.toUpperCase();
  const name = upper.startsWith("CAP_") ? upper.slice(4) : upper;
  return Object.hasOwn(CAPABILITIES, name) ? (name as CapabilityName) : undefined;
}

/** What this process may hand on: effective and still in the bounding set (capabilities(7)). */
export function daemonCapabilities(): Set<CapabilityName> {
  const status = readFileSync("/proc/self/status", "utf8");
  return capabilityNames(maskOf(status, "CapEff") & maskOf(status, "CapBnd"));
}

/** One bit per capability, as in /proc/PID/status and capset(2) (low word, then high word). */
export function capabilityMask(capabilities: Iterable<CapabilityName>): bigint {
  let mask = 0n;
  for (const name of capabilities) mask |= 1n << BigInt(CAPABILITIES[name]);
  return mask;
}

/** The capabilities of a mask; bits that podrt has no name for are left out. */
export function capabilityNames(mask: bigint): Set<CapabilityName> {
  const names = Object.keys(CAPABILITIES) as CapabilityName[];
  return new Set(names.filter((name) => (mask >> BigInt(CAPABILITIES[name])) & 1n));
}

function maskOf(status: string, field: string): bigint {
  const match = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, "m").exec(status);
  return match === null ? 0n : BigInt(`0x${match[1]}`);
}
