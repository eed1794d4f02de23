// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { AlreadyExistsError, InvalidArgumentError, UnimplementedError } from "../errors.ts";
import type { HostPort } from "./attachment.ts";
import { addressOf, checkConflicts, checkHostPorts } from "./host-port.ts";
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
    [{ ...web, protocol: "icmp" as "tcp" }, "config.port_mappings[0].protocol: icmp"],
  ];
  for (const [port, message] of refused) {
    expect(() => checkHostPorts([port])).toThrow(InvalidArgumentError);
    expect(() => checkHostPorts([port])).toThrow(message);
  }
  expect(() => checkHostPorts([{ ...web, hostIp: "::1" }])).toThrow(UnimplementedError);
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

test("no address and the unspecified one both mean every address", () => {
  expect([
    addressOf(web),
    addressOf({ ...web, hostIp: "" }),
    addressOf({ ...web, hostIp: "0.0.0.0" }),
  ]).toEqual([undefined, undefined, undefined]);
});
