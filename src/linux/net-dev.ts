// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readSync } from "node:fs";

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
/** One for all: it is filled and read in one go. */
const buffer = Buffer.alloc(MAX_BYTES);

/**
 * The interfaces of the network namespace that process `pid` is in, which need not be entered for that
 * (proc_pid_net(5)). Undefined when there is no such process; whether it was the one that was meant must be
 * looked at afterwards.
 */
export function interfacesOf(pid: number): InterfaceCounters[] | undefined {
  const text = startOf(`/proc/${pid}/net/dev`);
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

function startOf(path: string): string | undefined {
  let length = 0;
  try {
    const fd = openSync(path, "r");
    try {
      for (;;) {
        const read = readSync(fd, buffer, length, buffer.length - length, null);
        length += read;
        if (read === 0 || length === buffer.length) break;
      }
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // EINVAL: of a zombie, which is in no namespace any more.
    if (code === "ENOENT" || code === "ESRCH" || code === "EINVAL") return undefined;
    throw error;
  }
  return buffer.toString("utf8", 0, length);
}
