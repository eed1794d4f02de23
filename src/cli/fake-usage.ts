// SPDX-License-Identifier: Apache-2.0
import type { FakeServices } from "./fake-daemon.ts";
import { id } from "./fake-pods.ts";

const MIB = 1024n * 1024n;
const uint = (value: bigint) => ({ value });

/** What the pods of `populate` use: at each call two seconds more, in which app1 has half a processor. */
export function measured(): FakeServices["runtime"] {
  let calls = 0n;
  const cgroup = (digit: string, name: string, nsPerSecond: bigint, limit?: bigint) => ({
    attributes: { id: id(digit), metadata: { name } },
    cpu: { timestamp: calls * 2_000_000_000n, usageCoreNanoSeconds: uint(calls * 2n * nsPerSecond) },
    memory: {
      workingSetBytes: uint(16n * MIB),
      ...(limit === undefined ? {} : { availableBytes: uint(limit - 16n * MIB) }),
    },
  });
  const metrics = (digit: string) => ({
    containerId: id(digit),
    metrics: [
      { name: "container_processes", value: uint(3n) },
      { name: "container_fs_reads_bytes_total", value: uint(1000n) },
      { name: "container_fs_reads_bytes_total", value: uint(500n) },
      { name: "container_fs_writes_bytes_total", value: uint(calls * 4000n) },
    ],
  });
  return {
    async *streamPodSandboxStats() {
      calls++;
      const pod = (digit: string, containers: ReturnType<typeof cgroup>[]) => {
        const { attributes, cpu, memory } = cgroup(
          digit,
          "",
          600_000_000n,
          digit === "a" ? 128n * MIB : undefined,
        );
        const network = {
          defaultInterface: { name: "eth0", rxBytes: uint(calls * 20_000n), txBytes: uint(5n) },
          interfaces: [{ name: "lo", rxBytes: uint(77n), txBytes: uint(77n) }],
        };
        const process = { processCount: uint(4n) };
        return { attributes, linux: { cpu, memory, network, process, containers } };
      };
      yield {
        podSandboxStats: [
          pod("a", [cgroup("b", "app1", 500_000_000n, 64n * MIB)]),
          pod("c", [cgroup("e", "etcd", 0n)]),
        ],
      };
    },
    async *streamPodSandboxMetrics() {
      yield {
        podSandboxMetrics: [
          { podSandboxId: id("a"), containerMetrics: [metrics("b")] },
          { podSandboxId: id("c"), containerMetrics: [metrics("e")] },
        ],
      };
    },
  };
}
