// SPDX-License-Identifier: Apache-2.0
import { readFileSync, statSync } from "node:fs";

const MAX_KNOWN_DEVICES = 256;
const knownDevices = new Map<string, string>();

/** The device that a file is on, as `/dev/vda1`; `major:minor` of a file system that is on none. */
export function deviceOf(path: string): string {
  const { dev } = statSync(path, { bigint: true });
  return deviceName(`${majorOf(dev)}:${minorOf(dev)}`);
}

/** The name of block device `major:minor`, as `/dev/vda1`; the numbers themselves when the kernel knows none. */
export function deviceName(number: string): string {
  const known = knownDevices.get(number);
  if (known !== undefined) return known;
  const name = nameOf(number);
  if (knownDevices.size >= MAX_KNOWN_DEVICES) knownDevices.clear();
  knownDevices.set(number, name);
  return name;
}

function nameOf(number: string): string {
  try {
    const name = /^DEVNAME=(.+)$/m.exec(readFileSync(`/sys/dev/block/${number}/uevent`, "utf8"))?.[1];
    return name === undefined ? number : `/dev/${name}`;
  } catch {
    return number;
  }
}

// The split of dev_t into its numbers, as gnu_dev_major and gnu_dev_minor of sys/sysmacros.h do it.

function majorOf(dev: bigint): bigint {
  return ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n);
}

function minorOf(dev: bigint): bigint {
  return (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
}
