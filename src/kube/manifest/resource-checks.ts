// SPDX-License-Identifier: Apache-2.0
import { requestedBy } from "../resources.ts";
import type { Report } from "./checks.ts";
import type { PodSpec } from "./fields.ts";

const RESOURCES = ["cpu", "memory", "hugepages-2Mi", "hugepages-1Gi"] as const;

/** What is wrong with amounts of a container or of a pod as a whole. */
export function checkResources(resources: PodSpec["resources"], path: string, report: Report): void {
  const { limits, requests } = resources ?? {};
  for (const name of RESOURCES) {
    const limit = limits?.[name];
    const request = requests?.[name];
    const at = `${path}.requests.${name}`;
    if (limit !== undefined && request !== undefined && request > limit) {
      report(at, "is more than the limit");
    }
    if (!name.startsWith("hugepages") || request === limit || request === undefined) continue;
    report(at, "must equal the limit: huge pages cannot be overcommitted");
  }
}

/** What a pod has as a whole is enough for what its containers ask for, and none of them may have more than it. */
export function checkPodResources(spec: PodSpec, report: Report): void {
  const { limits, requests } = spec.resources ?? {};
  checkResources(spec.resources, "spec.resources", report);
  for (const name of RESOURCES) {
    const asked = requestedBy(spec, name);
    const request = requests?.[name];
    const unit = name === "cpu" ? "m" : "";
    if (request !== undefined && asked > request) {
      report(
        `spec.resources.requests.${name}`,
        `is less than its containers request together, ${asked}${unit}`,
      );
    }
    const limit = limits?.[name];
    if (limit === undefined) continue;
    // Without a request of the pod's own its limit is what there is to ask for.
    if (request === undefined && asked > limit) {
      report(
        `spec.resources.limits.${name}`,
        `is less than its containers request together, ${asked}${unit}`,
      );
    }
    for (const field of ["initContainers", "containers"] as const) {
      spec[field]?.forEach(({ resources }, index) => {
        if ((resources?.limits?.[name] ?? 0) <= limit) return;
        report(
          `spec.${field}[${index}].resources.limits.${name}`,
          `is more than the limit of the whole pod, ${limit}${unit}`,
        );
      });
    }
  }
}
