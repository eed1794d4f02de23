// SPDX-License-Identifier: Apache-2.0
import type { CgroupReader } from "./reader.ts";

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
export function ioStats(cgroup: CgroupReader): readonly DeviceIo[] {
  return cgroup.version === "v1" ? v1(cgroup) : parseIoStat(cgroup.tryRead("io", "io.stat") ?? "");
}

/** Who counts depends on the kernel, on the scheduler of the device, and on whether there are limits. */
const V1_POLICIES = ["throttle", "bfq"];

function v1(cgroup: CgroupReader): readonly DeviceIo[] {
  for (const policy of V1_POLICIES) {
    const text = (name: string) => cgroup.tryRead("blkio", `blkio.${policy}.${name}_recursive`) ?? "";
    const bytes = text("io_service_bytes");
    // Both files have lines of the same devices.
    if (parseBlkio(bytes, "").length > 0) return parseBlkio(bytes, text("io_serviced"));
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
