// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  CpuUsageSchema,
  FilesystemUsageSchema,
  IoUsageSchema,
  MemoryUsageSchema,
  NetworkInterfaceUsageSchema,
  PsiDataSchema,
  PsiStatsSchema,
  SwapUsageSchema,
} from "../gen/runtime/v1/api_pb.ts";
import type { Pressure, PressureLine } from "../linux/cgroup/pressure.ts";
import type { InterfaceCounters } from "../linux/net-dev.ts";
import type { CgroupSample } from "./cgroup-samples.ts";
import type { LayerUsage } from "./writable-layers.ts";

// What has been read as the messages of the interface; what the machine did not tell is left unset.

/** A number as a UInt64Value. */
export function uint64(value: number | bigint): { value: bigint } {
  return { value: BigInt(value) };
}

function optional<K extends string>(key: K, value: number | bigint | undefined) {
  return (value === undefined ? {} : { [key]: uint64(value) }) as { [P in K]?: { value: bigint } };
}

export function cpuUsage(sample: CgroupSample): MessageInitShape<typeof CpuUsageSchema> {
  return {
    timestamp: sample.cpuAtNs,
    ...optional("usageCoreNanoSeconds", sample.cpuUsageNs),
    ...optional("usageNanoCores", sample.nanoCores),
    ...psi(sample.pressures.cpu),
  };
}

/** Undefined without the memory controller. */
export function memoryUsage({
  memory,
  memoryAtNs,
  pressures,
}: CgroupSample): MessageInitShape<typeof MemoryUsageSchema> | undefined {
  if (memory === undefined) return undefined;
  const { limitBytes, workingSetBytes } = memory;
  const availableBytes = limitBytes === undefined ? undefined : Math.max(0, limitBytes - workingSetBytes);
  return {
    timestamp: memoryAtNs,
    usageBytes: uint64(memory.usageBytes),
    workingSetBytes: uint64(workingSetBytes),
    rssBytes: uint64(memory.rssBytes),
    pageFaults: uint64(memory.pageFaults),
    majorPageFaults: uint64(memory.majorPageFaults),
    ...optional("availableBytes", availableBytes),
    ...psi(pressures.memory),
  };
}

/** Undefined where the kernel does not account for swap. */
export function swapUsage({
  memory,
  memoryAtNs,
}: CgroupSample): MessageInitShape<typeof SwapUsageSchema> | undefined {
  if (memory?.swapBytes === undefined) return undefined;
  const { swapBytes, swapLimitBytes } = memory;
  const available = swapLimitBytes === undefined ? undefined : Math.max(0, swapLimitBytes - swapBytes);
  return {
    timestamp: memoryAtNs,
    swapUsageBytes: uint64(swapBytes),
    ...optional("swapAvailableBytes", available),
  };
}

/** Of input and output the interface asks for the pressure only: undefined where there is none. */
export function ioUsage({
  pressures,
  memoryAtNs,
}: CgroupSample): MessageInitShape<typeof IoUsageSchema> | undefined {
  return pressures.io === undefined ? undefined : { timestamp: memoryAtNs, ...psi(pressures.io) };
}

export function layerUsage(
  { usedBytes, inodesUsed, atNs }: LayerUsage,
  mountpoint: string,
): MessageInitShape<typeof FilesystemUsageSchema> {
  return {
    timestamp: atNs,
    fsId: { mountpoint },
    usedBytes: uint64(usedBytes),
    inodesUsed: uint64(inodesUsed),
  };
}

export function interfaceUsage(
  counters: InterfaceCounters,
): MessageInitShape<typeof NetworkInterfaceUsageSchema> {
  return {
    name: counters.name,
    rxBytes: uint64(counters.receivedBytes),
    rxErrors: uint64(counters.receiveErrors),
    txBytes: uint64(counters.sentBytes),
    txErrors: uint64(counters.sendErrors),
  };
}

function psi(pressure: Pressure | undefined): { psi?: MessageInitShape<typeof PsiStatsSchema> } {
  return pressure === undefined
    ? {}
    : { psi: { Full: psiData(pressure.full), Some: psiData(pressure.some) } };
}

function psiData({ totalUs, avg10, avg60, avg300 }: PressureLine): MessageInitShape<typeof PsiDataSchema> {
  return { Total: totalUs * 1000n, Avg10: avg10, Avg60: avg60, Avg300: avg300 };
}
