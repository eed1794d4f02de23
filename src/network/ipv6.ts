// SPDX-License-Identifier: Apache-2.0
import { existsSync, writeFileSync } from "node:fs";
import { withNetworkNamespace } from "../linux/namespace.ts";
import { procText } from "../linux/proc-file.ts";

/*
 * IPv6 in the kernel's settings, below /proc/sys/net/ipv6 (Documentation/networking/ip-sysctl.rst). What is read or
 * written there is the network namespace's that the thread is in.
 */

const CONF = "/proc/sys/net/ipv6/conf";

let isKnown = false;

/** False for a kernel without IPv6, or one that was started with ipv6.disable=1. */
export function hasIpv6(): boolean {
  // A kernel that has it keeps it.
  isKnown ||= existsSync(CONF);
  return isKnown;
}

/** Why the machine's interfaces cannot have IPv6 addresses; undefined when they can. */
export function ipv6Problem(): string | undefined {
  if (!hasIpv6()) return "this machine's kernel has no IPv6, or was started with ipv6.disable=1";
  const disabled = ["all", "default"].find((name) => isDisabled(name));
  return disabled && `net.ipv6.conf.${disabled}.disable_ipv6 is 1 on this machine`;
}

/** True where a pod has asked, by its kernel parameters, for a network namespace without IPv6. */
export function isDisabledInPod(netnsFd: number): boolean {
  return hasIpv6() && withNetworkNamespace(netnsFd, () => ["all", "default"].some(isDisabled));
}

/**
 * Keeps an interface from believing what a neighbour says about routers and addresses: a pod could lead the traffic
 * of others, or the machine's, its way. To be called while it is down.
 */
export function ignoreAdvertisements(link: string): void {
  if (hasIpv6()) setOption(link, "accept_ra", "0");
}

/** Lets an interface's own addresses be used at once; nobody else can have what podrt has given. */
export function skipDuplicateDetection(link: string): void {
  if (hasIpv6()) setOption(link, "accept_dad", "0");
}

/** A setting of an interface, as text; empty for an interface that has gone. */
export function optionOf(link: string, option: string): string {
  return procText(`${CONF}/${link}/${option}`).trim();
}

export function setOption(link: string, option: string, value: string): void {
  writeFileSync(`${CONF}/${link}/${option}`, value);
}

function isDisabled(name: string): boolean {
  return optionOf(name, "disable_ipv6") === "1";
}
