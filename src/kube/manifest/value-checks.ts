// SPDX-License-Identifier: Apache-2.0
import { allContainers } from "../container-order.ts";
import type { Report } from "./checks.ts";
import type { ContainerSpec } from "./container-fields.ts";
import type { PodSpec } from "./fields.ts";
import type { ResourceFieldRefSpec } from "./value-fields.ts";

/** What is wrong with the places that a container's variables are taken from. */
export function checkEnvironment(
  { env, envFrom }: ContainerSpec,
  path: string,
  spec: PodSpec,
  report: Report,
): void {
  envFrom?.forEach(({ configMapRef, secretRef }, index) => {
    if ((configMapRef === undefined) !== (secretRef === undefined)) return;
    report(`${path}.envFrom[${index}]`, "needs one of configMapRef and secretRef, and no more");
  });
  env?.forEach(({ value, valueFrom }, index) => {
    if (valueFrom === undefined) return;
    const at = `${path}.env[${index}].valueFrom`;
    if (value !== undefined && value !== "") report(at, "cannot be combined with value");
    if (Object.keys(valueFrom).length !== 1) {
      report(at, "needs one of configMapKeyRef, secretKeyRef, fieldRef and resourceFieldRef, and no more");
    }
    const field = valueFrom.fieldRef?.fieldPath;
    if (field === "metadata.labels" || field === "metadata.annotations") {
      report(`${at}.fieldRef.fieldPath`, `needs a key in a variable, as in ${field}['app']`);
    }
    checkResource(valueFrom.resourceFieldRef, `${at}.resourceFieldRef`, spec, report);
  });
}

/** The container that a resource is read of must be there, and the unit one of its kind. */
export function checkResource(
  reference: ResourceFieldRefSpec | undefined,
  path: string,
  spec: PodSpec,
  report: Report,
): void {
  if (reference === undefined) return;
  const { containerName, resource, divisor } = reference;
  if (containerName !== undefined && !allContainers(spec).some(({ name }) => name === containerName)) {
    report(`${path}.containerName`, `there is no container ${JSON.stringify(containerName)}`);
  }
  const isCpu = resource.endsWith(".cpu");
  if (divisor === undefined || divisor === "0" || divisor === "1") return;
  if (isCpu !== (divisor === "1m")) {
    report(`${path}.divisor`, isCpu ? "must be 1 or 1m for cpu" : "must be a number of bytes, as in 1Mi");
  }
}
