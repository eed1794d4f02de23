// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import ipaddr from "ipaddr.js";
import { FailedPreconditionError } from "../errors.ts";
import type { PortMapping } from "../gen/runtime/v1/api_pb.ts";
import { Protocol } from "../gen/runtime/v1/api_pb.ts";

/** A socket of the machine that packets from outside reach. */
export interface Listener {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
}

/** The kernel's word for listening, and for a UDP socket that is connected to nobody (include/net/tcp_states.h). */
const LISTENING = { tcp: "0A", udp: "07" } as const;
const WORD_HEX = 8;

/** What the programs of this machine listen at (proc_net_tcp.rst); podrt's own ports of pods are no sockets. */
export function machineListeners(read: (file: string) => string = readTable): Listener[] {
  return (["tcp", "udp"] as const).flatMap((protocol) =>
    ["", "6"].flatMap((family) =>
      read(`/proc/net/${protocol}${family}`)
        .split("\n")
        .slice(1)
        .flatMap((line) => {
          const [, local = "", , state] = line.trim().split(/\s+/);
          const [hex = "", port = ""] = local.split(":");
          return state === LISTENING[protocol]
            ? [{ protocol, address: addressOf(hex), port: Number.parseInt(port, 16) }]
            : [];
        }),
    ),
  );
}

/**
 * A port of a pod would be led past a program of the machine that listens there, which would seem dead to everybody
 * else. FailedPreconditionError names the port.
 */
export function refuseTakenPorts(ports: readonly PortMapping[], listeners = machineListeners): void {
  const wanted = ports.filter(({ hostPort }) => hostPort > 0);
  if (wanted.length === 0) return;
  const taken = listeners();
  for (const { hostPort, hostIp, protocol } of wanted) {
    const word = protocol === Protocol.UDP ? "udp" : protocol === Protocol.TCP ? "tcp" : undefined;
    const other = taken.find(
      (listener) =>
        listener.protocol === word && listener.port === hostPort && meet(listener.address, hostIp),
    );
    if (other === undefined) continue;
    const at = `${other.address.includes(":") ? `[${other.address}]` : other.address}:${hostPort}`;
    throw new FailedPreconditionError(
      `host port ${hostPort}/${word} is taken: a program of this machine listens at ${at}; choose another, or end that`,
    );
  }
}

/** Whether a packet to one may be for the other: the same address, or one of them is all of a family. */
function meet(one: string, hostIp: string): boolean {
  if (hostIp === "") return true;
  const [a, b] = [ipaddr.process(one), ipaddr.process(hostIp)];
  const isAll = (address: typeof a) => address.range() === "unspecified";
  // A socket at :: mostly hears IPv4 too.
  if (isAll(a) && a.kind() === "ipv6") return true;
  if (a.kind() !== b.kind()) return false;
  return isAll(a) || isAll(b) || a.toString() === b.toString();
}

/** The kernel prints each word of an address in the order of the machine's bytes, which is little-endian. */
function addressOf(hex: string): string {
  const bytes = (hex.match(new RegExp(`.{${WORD_HEX}}`, "g")) ?? []).flatMap((word) =>
    [...Buffer.from(word, "hex")].reverse(),
  );
  return ipaddr.fromByteArray(bytes).toString();
}

/** Empty where the machine has no such sockets, as without IPv6. */
function readTable(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
