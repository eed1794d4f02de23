// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { PortMappingSchema, Protocol } from "../gen/runtime/v1/api_pb.ts";
import { machineListeners, refuseTakenPorts } from "./taken-ports.ts";

/** As the kernel prints them: a listener, a connection, and one of IPv6. */
const TABLES: Readonly<Record<string, string>> = {
  "/proc/net/tcp": `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
`,
  "/proc/net/tcp6": `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 3
   1: 000080FE00000000FF005450B6AE3DFE:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4
`,
  "/proc/net/udp": `  sl  local_address rem_address   st
  10: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5 2 0 0
`,
};
const listeners = () => machineListeners((file) => TABLES[file] ?? "");

test("sockets that listen are read with their addresses, connections are not", () => {
  expect(listeners()).toEqual([
    { protocol: "tcp", address: "127.0.0.1", port: 8080 },
    { protocol: "tcp", address: "::", port: 22 },
    { protocol: "tcp", address: "fe80::5054:ff:fe3d:aeb6", port: 80 },
    { protocol: "udp", address: "0.0.0.0", port: 53 },
  ]);
});

const attempt = (hostPort: number, hostIp = "", protocol: Protocol = Protocol.TCP) => {
  const ports = [create(PortMappingSchema, { hostPort, hostIp, protocol, containerPort: 80 })];
  return () => refuseTakenPorts(ports, listeners);
};

test.each([
  [8080, "", Protocol.TCP, "127.0.0.1:8080"],
  [8080, "127.0.0.1", Protocol.TCP, "127.0.0.1:8080"],
  [22, "10.0.0.1", Protocol.TCP, "[::]:22"],
  [53, "127.0.0.1", Protocol.UDP, "0.0.0.0:53"],
] as const)("port %i at %p is taken", (port, address, protocol, at) => {
  expect(attempt(port, address, protocol)).toThrow(
    `a program of this machine listens at ${at}; choose another`,
  );
});

test.each([
  [8080, "10.0.0.1", Protocol.TCP],
  [8080, "", Protocol.UDP],
  [8081, "", Protocol.TCP],
  [80, "127.0.0.1", Protocol.TCP],
  [53, "", Protocol.SCTP],
  [0, "", Protocol.TCP],
] as const)("port %i at %p is free", (port, address, protocol) => {
  expect(attempt(port, address, protocol)).not.toThrow();
});

test("the machine's own tables can be read", () => {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  try {
    expect(machineListeners()).toContainEqual({ protocol: "tcp", address: "127.0.0.1", port: server.port });
  } finally {
    server.stop(true);
  }
});
