// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { MetricDescriptorSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { CgroupHost } from "../../linux/cgroup/host.ts";
import { cpuFamilies } from "./cpu.ts";
import { descriptorOf, type MetricFamily, type Requirement } from "./family.ts";
import { memoryFamilies } from "./memory.ts";
import { type NetworkReadings, networkFamilies } from "./network.ts";
import { processFamilies } from "./processes.ts";
import type { ContainerReadings } from "./readings.ts";
import { storageFamilies } from "./storage.ts";

/** The metrics of this machine: clients ask once what there is, and ignore whatever comes besides. */
export interface Catalogue {
  readonly container: readonly MetricFamily<ContainerReadings>[];
  readonly network: readonly MetricFamily<NetworkReadings>[];
  readonly descriptors: readonly MessageInitShape<typeof MetricDescriptorSchema>[];
}

/** What cAdvisor tells of containers, as far as this machine's control groups do. */
export function openCatalogue(host: CgroupHost, hasPressure: boolean): Catalogue {
  const found = new Set<Requirement>();
  if (hasPressure && host.unified !== undefined) found.add("pressure");
  for (const requirement of ["cpu", "memory", "pids", "hugetlb"] as const) {
    if (host.controllers.includes(requirement)) found.add(requirement);
  }
  // On v2 CPU time is counted without any controller, and block devices have another name for theirs.
  if (host.version === "v2" || host.controllers.includes("cpuacct")) found.add("cpuacct");
  if (host.controllers.includes(host.version === "v2" ? "io" : "blkio")) found.add("io");
  const isThere = ({ needs }: Pick<MetricFamily<never>, "needs">) => needs === undefined || found.has(needs);
  const container = [...cpuFamilies, ...memoryFamilies, ...storageFamilies, ...processFamilies].filter(
    isThere,
  );
  const network = networkFamilies.filter(isThere);
  return { container, network, descriptors: [...container, ...network].map(descriptorOf) };
}
