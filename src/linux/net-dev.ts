// SPDX-License-Identifier: Apache-2.0
import type { ProcessDirectory } from "./process-directory.ts";

/** What the kernel has counted on one network interface. */
export interface InterfaceCounters {
  readonly name: string;
  readonly receivedBytes: bigint;
  readonly receivedPackets: bigint;
  readonly receiveErrors: bigint;
  readonly receiveDrops: bigint;
  readonly sentBytes: bigint;
  readonly sentPackets: bigint;
  readonly sendErrors: bigint;
  readonly sendDrops: bigint;
}

/** Some hundred interfaces: who may make interfaces can make any number of them. */
const MAX_BYTES = 64 * 1024;
const COUNTERS = 16;

/**
 * The interfaces of the network namespace that a process is in, which need not be entered for that
 * (proc_pid_net(5)). Undefined when the process has ended.
 */
export function interfacesOf(process: ProcessDirectory): InterfaceCounters[] | undefined {
  const text = process.read("net/dev", MAX_BYTES);
  return text === undefined ? undefined : parseNetDev(text);
}

/**
 * The text of a net/dev file: two lines of headings, then lines of a name, a colon and sixteen numbers. A last
 * line that is cut off is left out. No name comes twice, even of those that are no UTF-8.
 */
export function parseNetDev(text: string): InterfaceCounters[] {
  const found = new Map<string, InterfaceCounters>();
  for (const line of text.split("\n").slice(2, -1)) {
    const end = line.lastIndexOf(":");
    const name = line.slice(0, end).trim();
    const numbers = line.slice(end + 1).match(/\d+/g) ?? [];
    if (numbers.length !== COUNTERS || found.has(name)) continue;
    const at = (index: number) => BigInt(numbers[index] as string);
    found.set(name, {
      name,
      receivedBytes: at(0),
      receivedPackets: at(1),
      receiveErrors: at(2),
      receiveDrops: at(3),
      sentBytes: at(8),
      sentPackets: at(9),
      sendErrors: at(10),
      sendDrops: at(11),
    });
  }
  return [...found.values()];
}
