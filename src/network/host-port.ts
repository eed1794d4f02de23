// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import {
  AlreadyExistsError,
  InvalidArgumentError,
  ResourceExhaustedError,
  UnimplementedError,
} from "../errors.ts";
import type { HostPort } from "./attachment.ts";
import type { LeaseRecord } from "./ipam.ts";

const PATH = "config.port_mappings";
const PORTS_PER_SANDBOX = 1024;
const PORT_MAX = 65_535;
const PROTOCOLS: readonly string[] = ["tcp", "udp", "sctp"];
const ANY_ADDRESS = "0.0.0.0";

/** Refuses port mappings that cannot be honoured, naming the field. */
export function checkHostPorts(ports: readonly HostPort[]): void {
  if (ports.length > PORTS_PER_SANDBOX) {
    throw new ResourceExhaustedError(
      `${PATH}: ${ports.length} host ports, at most ${PORTS_PER_SANDBOX} a sandbox`,
    );
  }
  ports.forEach((port, index) => {
    checkHostPort(port, `${PATH}[${index}]`);
    const twin = ports.slice(0, index).find((other) => collide(port, other));
    if (twin !== undefined) {
      throw new InvalidArgumentError(
        `${PATH}[${index}]`,
        `${describe(port)} is already mapped in this sandbox`,
      );
    }
  });
}

function checkHostPort(port: HostPort, path: string): void {
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
  const address = addressOf(port);
  if (address === undefined || ipaddr.IPv4.isValidFourPartDecimal(address)) return;
  if (ipaddr.IPv6.isValid(address)) {
    throw new UnimplementedError(
      `${path}.host_ip: host ports on IPv6 addresses are not supported (${address})`,
    );
  }
  throw new InvalidArgumentError(`${path}.host_ip`, `${address} is no IP address`);
}

/** Refuses ports that another sandbox has, naming that sandbox. */
export function checkConflicts(ports: readonly HostPort[], leases: readonly LeaseRecord[]): void {
  for (const port of ports) {
    const owner = leases.find((lease) => lease.hostPorts.some((other) => collide(port, other)));
    if (owner !== undefined) {
      throw new AlreadyExistsError(`host port ${describe(port)} is taken by sandbox ${owner.sandboxId}`);
    }
  }
}

/** The one address of the machine that the port is for; undefined for all. */
export function addressOf(port: HostPort): string | undefined {
  return port.hostIp === undefined || port.hostIp === "" || port.hostIp === ANY_ADDRESS
    ? undefined
    : port.hostIp;
}

function collide(a: HostPort, b: HostPort): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  const [first, second] = [addressOf(a), addressOf(b)];
  return first === undefined || second === undefined || first === second;
}

function describe(port: HostPort): string {
  const address = addressOf(port);
  return `${address === undefined ? "" : `${address}:`}${port.hostPort}/${port.protocol}`;
}
