// SPDX-License-Identifier: Apache-2.0
import { isSidecar } from "../container-order.ts";
import type { Report } from "./checks.ts";
import type { ContainerSpec } from "./container-fields.ts";
import type { PodSpec } from "./fields.ts";

/** What is wrong with the rules by which a container is started again. */
export function checkRestartRules(
  container: ContainerSpec,
  path: string,
  spec: PodSpec,
  report: Report,
): void {
  const { restartPolicy, restartPolicyRules = [] } = container;
  if (restartPolicyRules.length === 0) return;
  if (restartPolicy === undefined) report(`${path}.restartPolicy`, "is required beside restartPolicyRules");
  if (spec.initContainers?.includes(container) && isSidecar(container)) {
    report(`${path}.restartPolicyRules`, "have no place in a sidecar, which is started again in any case");
  }
  restartPolicyRules.forEach(({ exitCodes: { values = [] } }, index) => {
    values.forEach((value, at) => {
      if (values.indexOf(value) === at) return;
      report(`${path}.restartPolicyRules[${index}].exitCodes.values[${at}]`, `${value} is given twice`);
    });
  });
}
