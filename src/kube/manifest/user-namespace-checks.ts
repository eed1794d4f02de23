// SPDX-License-Identifier: Apache-2.0
import { IDS_EACH } from "../host-ids.ts";
import type { Report } from "./checks.ts";
import type { PodSpec } from "./fields.ts";

/** What a pod in a user namespace of its own cannot have beside it, and the ids that it has not. */
export function checkUserNamespace(spec: PodSpec, report: Report): void {
  if (spec.hostUsers !== false) {
    checkMasked(spec, report);
    return;
  }
  for (const field of ["hostNetwork", "hostPID", "hostIPC"] as const) {
    if (spec[field]) report(`spec.${field}`, "cannot be combined with hostUsers: false");
  }
  checkIds(spec.securityContext, "spec.securityContext", report);
  for (const field of ["initContainers", "containers"] as const) {
    spec[field]?.forEach(({ securityContext }, index) => {
      const path = `spec.${field}[${index}].securityContext`;
      checkIds(securityContext, path, report);
      if (securityContext?.privileged) {
        report(`${path}.privileged`, "cannot be combined with hostUsers: false");
      }
    });
  }
}

/** As in Kubernetes: what is hidden in /proc speaks of the machine, of which the pod then has nothing. */
function checkMasked(spec: PodSpec, report: Report): void {
  for (const field of ["initContainers", "containers"] as const) {
    spec[field]?.forEach(({ securityContext }, index) => {
      if (securityContext?.procMount !== "Unmasked") return;
      report(
        `spec.${field}[${index}].securityContext.procMount`,
        "Unmasked needs hostUsers: false in the pod's spec",
      );
    });
  }
}

interface Ids {
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly fsGroup?: number;
  readonly supplementalGroups?: readonly number[];
}

/** What is not mapped is nobody in the pod. */
function checkIds(context: Ids | undefined, path: string, report: Report): void {
  const check = (id: number | undefined, field: string) => {
    if (id === undefined || id < IDS_EACH) return;
    report(`${path}.${field}`, `must be below ${IDS_EACH}: a pod with hostUsers: false has no other ids`);
  };
  for (const field of ["runAsUser", "runAsGroup", "fsGroup"] as const) check(context?.[field], field);
  context?.supplementalGroups?.forEach((id, index) => {
    check(id, `supplementalGroups[${index}]`);
  });
}
