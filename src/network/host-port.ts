// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  ResourceExhaustedError,
  UnimplementedError,
} from "../errors.ts";
import type { HostPort } from "./attachment.ts";
import type { LeaseRecord } from "./ipam.ts";
import { FAMILIES, type Family } from "./subnet.ts";

const PATH = "config.port_mappings";
const PORTS_PER_SANDBOX = 1024;
const PORT_MAX = 65_535;
const PROTOCOLS: readonly string[] = ["tcp", "udp", "sctp"];

/**
 * Refuses port mappings that cannot be honoured, naming the field. `families` are those of which pods have
 * addresses.
 */
export function checkHostPorts(ports: readonly HostPort[], families: readonly Family[] = FAMILIES): void {
  if (ports.length > PORTS_PER_SANDBOX) {
    throw new ResourceExhaustedError(
      `${PATH}: ${ports.length} host ports, at most ${PORTS_PER_SANDBOX} a sandbox`,
    );
  }
  ports.forEach((port, index) => {
    checkHostPort(port, `${PATH}[${index}]`, families);
    const twin = ports.slice(0, index).find((other) => collide(port, other));
    if (twin !== undefined) {
      throw new InvalidArgumentError(
        `${PATH}[${index}]`,
        `${describe(port)} is already mapped in this sandbox`,
      );
    }
  });
}

function checkHostPort(port: HostPort, path: string, families: readonly Family[]): void {
  if (!PROTOCOLS.includes(port.protocol)) {
    throw new InvalidArgumentError(`${path}.protocol`, `${port.protocol} is none of ${PROTOCOLS.join(", ")}`);
  }
  for (const [field, value] of [
    ["host_port", port.hostPort],
    ["container_port", port.containerPort],
  ] as const) {
    if (!Number.isInteger(value) || value < 1 || value > PORT_MAX) {
      throw new InvalidArgumentError(`${path}.${field}`, `${value} is no port from 1 to ${PORT_MAX}`);
    }
  }
  if (port.hostIp !== undefined && port.hostIp !== "") checkHostIp(port.hostIp, `${path}.host_ip`, families);
}

function checkHostIp(text: string, path: string, families: readonly Family[]): void {
  const isIpv4 = ipaddr.IPv4.isValidFourPartDecimal(text);
  if (!isIpv4 && (!ipaddr.IPv6.isValid(text) || text.includes("%"))) {
    throw new InvalidArgumentError(path, `${text} is no IP address`);
  }
  const range = ipaddr.parse(text).range();
  if (range === "ipv4Mapped") {
    throw new InvalidArgumentError(path, `${text} is an IPv4 address in another form; write it as IPv4`);
  }
  if (!isIpv4 && range === "loopback") {
    throw new UnimplementedError(
      `${path}: host ports on ${text} are not supported, since the kernel leads no IPv6 loopback traffic to pods; take 127.0.0.1, or another address`,
    );
  }
  const family = isIpv4 ? 4 : 6;
  if (families.includes(family)) return;
  throw new FailedPreconditionError(
    `${path}: ${text} is an IPv${family} address, and pods have none here; leave it empty, or add a subnet of that family to network.subnet`,
  );
}

/** Refuses ports that another sandbox has, naming that sandbox. */
export function checkConflicts(ports: readonly HostPort[], leases: readonly LeaseRecord[]): void {
  for (const port of ports) {
    const owner = leases.find((lease) => lease.hostPorts.some((other) => collide(port, other)));
    if (owner !== undefined) {
      throw new AlreadyExistsError(
        `host port ${describe(port)} is taken by sandbox ${owner.sandboxId}; choose another, or remove that pod`,
      );
    }
  }
}

/** Where a port is taken: of which family, absent for both, and on which address in its usual form, absent for all. */
export interface HostPlace {
  readonly family?: Family;
  readonly address?: string;
}

/** Where a port that has been checked is taken. */
export function placeOf({ hostIp = "" }: HostPort): HostPlace {
  if (hostIp === "") return {};
  const address = ipaddr.parse(hostIp);
  const family = address.kind() === "ipv4" ? 4 : 6;
  return address.range() === "unspecified" ? { family } : { family, address: address.toString() };
}

function collide(a: HostPort, b: HostPort): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  const [first, second] = [placeOf(a), placeOf(b)];
  return isCompatible(first.family, second.family) && isCompatible(first.address, second.address);
}

/** True when the two are the same, or one is anything. */
function isCompatible<T>(a: T | undefined, b: T | undefined): boolean {
  return a === undefined || b === undefined || a === b;
}

function describe(port: HostPort): string {
  const { hostIp = "" } = port;
  const address = placeOf(port).address === undefined ? "" : hostIp;
  const before = address === "" ? "" : address.includes(":") ? `[${address}]:` : `${address}:`;
  return `${before}${port.hostPort}/${port.protocol}`;
}
