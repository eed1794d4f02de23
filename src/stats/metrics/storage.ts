// SPDX-License-Identifier: Apache-2.0
import type { DeviceIo } from "../../linux/cgroup/io.ts";
import { deviceName } from "../../linux/filesystem.ts";
import { familiesOf, type Sample } from "./family.ts";
import type { ContainerReadings } from "./readings.ts";

const filesystem = familiesOf<ContainerReadings>();
const io = familiesOf<ContainerReadings>("io");

export const storageFamilies = [
  filesystem.gauge(
    "fs_usage_bytes",
    "What the container has written to its root, in bytes on disk",
    ({ filesystem, layer }) => [{ value: layer?.usedBytes, labels: [filesystem.device], atNs: layer?.atNs }],
    ["device"],
  ),
  filesystem.gauge(
    "fs_limit_bytes",
    "Size of the file system that the container's root is on",
    ({ filesystem }) => [{ value: filesystem.limitBytes, labels: [filesystem.device] }],
    ["device"],
  ),
  filesystem.gauge(
    "fs_inodes_total",
    "Inodes of the file system that the container's root is on",
    ({ filesystem }) => [{ value: filesystem.inodes, labels: [filesystem.device] }],
    ["device"],
  ),
  filesystem.gauge(
    "fs_inodes_free",
    "Free inodes of the file system that the container's root is on",
    ({ filesystem }) => [{ value: filesystem.freeInodes, labels: [filesystem.device] }],
    ["device"],
  ),
  io.counter("fs_reads_total", "Reads from a block device", perDevice("reads"), ["device"]),
  io.counter("fs_reads_bytes_total", "Bytes read from a block device", perDevice("readBytes"), ["device"]),
  io.counter("fs_writes_total", "Writes to a block device", perDevice("writes"), ["device"]),
  io.counter("fs_writes_bytes_total", "Bytes written to a block device", perDevice("writtenBytes"), [
    "device",
  ]),
  io.counter(
    "blkio_device_usage_total",
    "Bytes transferred from and to a block device, by operation",
    ({ cgroup: { value, atNs } }) =>
      value.io.flatMap(({ device, readBytes, writtenBytes }) => {
        const labels = [deviceName(device), ...device.split(":")];
        return [
          { value: readBytes, labels: [...labels, "Read"], atNs },
          { value: writtenBytes, labels: [...labels, "Write"], atNs },
        ];
      }),
    ["device", "major", "minor", "operation"],
  ),
];

function perDevice(counter: Exclude<keyof DeviceIo, "device">) {
  return ({ cgroup: { value, atNs } }: ContainerReadings): readonly Sample[] =>
    value.io.map((device) => ({ value: device[counter], labels: [deviceName(device.device)], atNs }));
}
