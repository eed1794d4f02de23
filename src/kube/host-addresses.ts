// SPDX-License-Identifier: Apache-2.0
import type { NetworkInterfaceInfo } from "node:os";

/**
 * The addresses by which others reach this machine, IPv4 first: of every interface but the loopback and
 * podrt's own bridge, without those that count on one link only. 127.0.0.1 where there is none.
 */
export function hostAddresses(
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
  bridge: string,
): string[] {
  const found = Object.entries(interfaces)
    .filter(([name]) => name !== bridge)
    .flatMap(([, addresses = []]) => addresses)
    .filter(({ internal, address }) => !internal && !/^(fe80:|169\.254\.)/i.test(address));
  const ofFamily = (family: string) =>
    found.filter((one) => one.family === family).map(({ address }) => address);
  const ordered = [...ofFamily("IPv4"), ...ofFamily("IPv6")];
  return ordered.length === 0 ? ["127.0.0.1"] : ordered;
}
