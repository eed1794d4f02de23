// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  UnimplementedError,
} from "../errors.ts";
import type { HostPort } from "./attachment.ts";
import { checkConflicts, checkHostPorts, placeOf } from "./host-port.ts";
import type { LeaseRecord } from "./ipam.ts";

const web: HostPort = { protocol: "tcp", containerPort: 80, hostPort: 8080 };

function lease(...hostPorts: HostPort[]): LeaseRecord {
  return { sandboxId: "abc", addresses: ["10.1.2.3"], hostPorts, hostInterface: "pv0", isReleasing: false };
}

test("mappings that cannot be honoured are refused by the field", () => {
  const refused: [HostPort, string][] = [
    [{ ...web, hostPort: 0 }, "config.port_mappings[0].host_port: 0 is no port"],
    [{ ...web, containerPort: 70_000 }, "config.port_mappings[0].container_port: 70000"],
    [{ ...web, hostIp: "localhost" }, "config.port_mappings[0].host_ip: localhost is no IP address"],
    [{ ...web, hostIp: "fe80::1%eth0" }, "config.port_mappings[0].host_ip: fe80::1%eth0 is no IP address"],
    [{ ...web, hostIp: "::ffff:10.0.0.1" }, "config.port_mappings[0].host_ip: ::ffff:10.0.0.1 is an IPv4"],
    [{ ...web, protocol: "icmp" as "tcp" }, "config.port_mappings[0].protocol: icmp"],
  ];
  for (const [port, message] of refused) {
    expect(() => checkHostPorts([port])).toThrow(InvalidArgumentError);
    expect(() => checkHostPorts([port])).toThrow(message);
  }
  expect(() => checkHostPorts([{ ...web, hostIp: "::1" }])).toThrow(UnimplementedError);
  expect(() => checkHostPorts([{ ...web, hostIp: "::1" }])).toThrow("config.port_mappings[0].host_ip");
});

test("an address of a family that pods do not have is refused, none is for those that they have", () => {
  checkHostPorts([web, { ...web, hostPort: 1, hostIp: "::" }, { ...web, hostPort: 2, hostIp: "fd00::1" }]);
  for (const hostIp of ["::", "fd00::1"]) {
    expect(() => checkHostPorts([{ ...web, hostIp }], [4])).toThrow(FailedPreconditionError);
    expect(() => checkHostPorts([{ ...web, hostIp }], [4])).toThrow("pods have none here");
  }
  for (const hostIp of ["0.0.0.0", "192.0.2.1"]) {
    expect(() => checkHostPorts([{ ...web, hostIp }], [6])).toThrow(FailedPreconditionError);
  }
  checkHostPorts([web], [6]);
  checkHostPorts([web], [4]);
});

test("the families' ports are apart, and an address counts in any of its forms", () => {
  const every4 = { ...web, hostIp: "0.0.0.0" };
  const every6 = { ...web, hostIp: "::" };
  const one6 = { ...web, hostIp: "fd00::1" };
  checkHostPorts([every4, every6]);
  checkConflicts([every4, one6], [lease({ ...web, hostIp: "fd00::2" })]);
  for (const [port, taken] of [
    [web, every6],
    [web, one6],
    [every6, one6],
    [one6, { ...web, hostIp: "fd00:0:0::0:1" }],
  ] as const) {
    expect(() => checkConflicts([port], [lease(taken)])).toThrow(AlreadyExistsError);
    expect(() => checkConflicts([taken], [lease(port)])).toThrow(AlreadyExistsError);
  }
  expect(() => checkConflicts([one6], [lease(web)])).toThrow("host port [fd00::1]:8080/tcp is taken");
});

test("one sandbox cannot map a host port twice", () => {
  expect(() => checkHostPorts([web, { ...web, containerPort: 81 }])).toThrow(
    "config.port_mappings[1]: 8080/tcp is already mapped",
  );
  checkHostPorts([web, { ...web, protocol: "udp" }, { ...web, protocol: "sctp", hostIp: "127.0.0.1" }]);
});

test("a host port belongs to one sandbox, which the error names", () => {
  expect(() => checkConflicts([web], [lease(web)])).toThrow(AlreadyExistsError);
  expect(() => checkConflicts([{ ...web, hostIp: "127.0.0.1" }], [lease(web)])).toThrow(
    "host port 127.0.0.1:8080/tcp is taken by sandbox abc",
  );
  expect(() => checkConflicts([web], [lease({ ...web, hostIp: "127.0.0.1" })])).toThrow(AlreadyExistsError);
});

test("different addresses, protocols and ports do not conflict", () => {
  const here = { ...web, hostIp: "127.0.0.1" };
  checkConflicts(
    [
      { ...web, hostIp: "192.0.2.1" },
      { ...here, protocol: "udp" },
      { ...here, hostPort: 1 },
    ],
    [lease(here)],
  );
});

test("no address means every one, an unspecified one every one of its family", () => {
  const places = [undefined, "", "0.0.0.0", "::", "10.0.0.1", "FD00::0:1"].map((hostIp) =>
    placeOf(hostIp === undefined ? web : { ...web, hostIp }),
  );
  expect(places).toEqual([
    {},
    {},
    { family: 4 },
    { family: 6 },
    { family: 4, address: "10.0.0.1" },
    { family: 6, address: "fd00::1" },
  ]);
});
