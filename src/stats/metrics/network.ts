// SPDX-License-Identifier: Apache-2.0
import type { InterfaceCounters } from "../../linux/net-dev.ts";
import { familiesOf, type Sample } from "./family.ts";
import type { Read } from "./readings.ts";

/** What the metrics of a pod's network are made of. */
export type NetworkReadings = Read<readonly InterfaceCounters[]>;

const { counter } = familiesOf<NetworkReadings>();

export const networkFamilies = [
  family("receive_bytes_total", "Bytes received", "receivedBytes"),
  family("receive_packets_total", "Packets received", "receivedPackets"),
  family("receive_errors_total", "Errors while receiving", "receiveErrors"),
  family("receive_packets_dropped_total", "Packets dropped while receiving", "receiveDrops"),
  family("transmit_bytes_total", "Bytes sent", "sentBytes"),
  family("transmit_packets_total", "Packets sent", "sentPackets"),
  family("transmit_errors_total", "Errors while sending", "sendErrors"),
  family("transmit_packets_dropped_total", "Packets dropped while sending", "sendDrops"),
];

function family(name: string, help: string, counterName: Exclude<keyof InterfaceCounters, "name">) {
  const samples = ({ value, atNs }: NetworkReadings): readonly Sample[] =>
    value.map((counters) => ({ value: counters[counterName], labels: [counters.name], atNs }));
  return counter(`network_${name}`, `${help} on an interface of the pod`, samples, ["interface"]);
}
