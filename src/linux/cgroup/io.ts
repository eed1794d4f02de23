// SPDX-License-Identifier: Apache-2.0
import { tryRead } from "./files.ts";
import type { CgroupDirectories } from "./resources.ts";

/** What a cgroup and those below it have read from and written to one block device. */
export interface DeviceIo {
  /** `major:minor`. */
  readonly device: string;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

type Counter = Exclude<keyof DeviceIo, "device">;
/** Where a number of the text belongs, by the name that it bears there. */
type CounterNames = Readonly<Record<string, Counter>>;

/** Machines have a handful; the files of a cgroup name each that was ever used. */
const MAX_DEVICES = 64;

const V1_BYTES: CounterNames = { Read: "readBytes", Write: "writtenBytes" };
const V1_OPERATIONS: CounterNames = { Read: "reads", Write: "writes" };
const V2: CounterNames = { rbytes: "readBytes", wbytes: "writtenBytes", rios: "reads", wios: "writes" };

/** The devices that were used; none without the controller. */
export function ioStats(cgroup: CgroupDirectories): readonly DeviceIo[] {
  if (cgroup.version === "v1") return v1(cgroup.directory("blkio"));
  const directory = cgroup.directory("io");
  return parseIoStat(directory === undefined ? "" : (tryRead(`${directory}/io.stat`) ?? ""));
}

/** Who counts depends on the kernel, on the scheduler of the device, and on whether there are limits. */
const V1_POLICIES = ["throttle", "bfq"];

function v1(directory: string | undefined): readonly DeviceIo[] {
  if (directory === undefined) return [];
  for (const policy of V1_POLICIES) {
    const text = (name: string) => tryRead(`${directory}/blkio.${policy}.${name}_recursive`) ?? "";
    const devices = parseBlkio(text("io_service_bytes"), text("io_serviced"));
    if (devices.length > 0) return devices;
  }
  return [];
}

/** The texts of v1's two files: lines `8:0 Read 4096`, and a total at the end. */
export function parseBlkio(bytes: string, operations: string): readonly DeviceIo[] {
  const devices = new Map<string, DeviceIo>();
  for (const [text, names] of [[bytes, V1_BYTES] as const, [operations, V1_OPERATIONS] as const]) {
    for (const line of text.split("\n")) {
      const [device = "", name = "", value] = line.split(" ");
      add(devices, device, names[name], value);
    }
  }
  return [...devices.values()];
}

/** The text of v2's io.stat: lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`. */
export function parseIoStat(text: string): readonly DeviceIo[] {
  const devices = new Map<string, DeviceIo>();
  for (const line of text.split("\n")) {
    const [device = "", ...fields] = line.split(" ");
    for (const field of fields) {
      const [name = "", value] = field.split("=");
      add(devices, device, V2[name], value);
    }
  }
  return [...devices.values()];
}

function add(
  devices: Map<string, DeviceIo>,
  device: string,
  counter: Counter | undefined,
  value: string | undefined,
): void {
  if (counter === undefined || value === undefined || !/^\d+:\d+$/.test(device)) return;
  const known = devices.get(device);
  if (known === undefined && devices.size >= MAX_DEVICES) return;
  const before = known ?? { device, reads: 0, writes: 0, readBytes: 0, writtenBytes: 0 };
  devices.set(device, { ...before, [counter]: Number(value) });
}
