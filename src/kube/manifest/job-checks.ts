// SPDX-License-Identifier: Apache-2.0
import { allContainers } from "../container-order.ts";
import { parseIndexes } from "../indexes.ts";
import { DISRUPTION } from "../job-policies.ts";
import type { Report } from "./checks.ts";
import type { FailureRule } from "./job-policy-fields.ts";
import type { JobManifest } from "./workload-fields.ts";

type JobSpec = JobManifest["spec"];

/** What is wrong with a Job although each of its fields is right by itself; `note` hears of what is of no effect. */
export function checkJob(spec: JobSpec, report: Report, note: Report): void {
  checkIndexes(spec, report);
  checkFailurePolicy(spec, report, note);
  checkSuccessPolicy(spec, report);
  if (spec.podReplacementPolicy !== "TerminatingOrFailed") return;
  if (spec.podFailurePolicy !== undefined) {
    report("spec.podReplacementPolicy", "must be Failed beside podFailurePolicy");
  } else note("spec.podReplacementPolicy", "has no effect: a pod is run anew only once it has ended");
}

function checkIndexes(spec: JobSpec, report: Report): void {
  const { completions, completionMode, backoffLimit, backoffLimitPerIndex, maxFailedIndexes } = spec;
  const isIndexed = completionMode === "Indexed";
  if (isIndexed && completions === undefined) {
    report("spec.completions", "is required when completionMode is Indexed");
  }
  if (backoffLimitPerIndex !== undefined) {
    if (!isIndexed) report("spec.backoffLimitPerIndex", "needs completionMode Indexed");
    if (backoffLimit !== undefined) {
      report(
        "spec.backoffLimitPerIndex",
        "cannot be combined with backoffLimit: the limit is each pod's own",
      );
    }
    if (spec.template.spec.restartPolicy !== "Never") {
      report("spec.backoffLimitPerIndex", "needs restartPolicy Never in the template");
    }
  }
  if (maxFailedIndexes !== undefined && backoffLimitPerIndex === undefined) {
    report("spec.maxFailedIndexes", "needs backoffLimitPerIndex");
  }
}

function checkFailurePolicy({ podFailurePolicy, ...spec }: JobSpec, report: Report, note: Report): void {
  if (podFailurePolicy === undefined) return;
  if (spec.template.spec.restartPolicy !== "Never") {
    report("spec.podFailurePolicy", "needs restartPolicy Never in the template");
  }
  const names = allContainers(spec.template.spec).map(({ name }) => name);
  podFailurePolicy.rules.forEach(({ action, onExitCodes, onPodConditions }, index) => {
    const path = `spec.podFailurePolicy.rules[${index}]`;
    if (action === "FailIndex" && spec.backoffLimitPerIndex === undefined) {
      report(`${path}.action`, "FailIndex needs backoffLimitPerIndex");
    }
    const areConditions = onPodConditions !== undefined && onPodConditions.length > 0;
    if ((onExitCodes !== undefined) === areConditions) {
      report(path, "needs one of onExitCodes and onPodConditions, and no more");
    }
    if (onExitCodes !== undefined) {
      const { containerName } = onExitCodes;
      if (containerName !== undefined && !names.includes(containerName)) {
        report(
          `${path}.onExitCodes.containerName`,
          `there is no container ${JSON.stringify(containerName)} in the template`,
        );
      }
      checkExitCodes(onExitCodes, `${path}.onExitCodes`, report);
    }
    onPodConditions?.forEach(({ type, status = "True" }, at) => {
      if (type === DISRUPTION && status === "True") return;
      note(
        `${path}.onPodConditions[${at}]`,
        `has no effect: the only condition that a pod comes to have here is ${DISRUPTION}, as True`,
      );
    });
  });
}

/** As an API server wants them: in order, each once, and without 0, which is no failure, among those that fit. */
function checkExitCodes(
  { operator, values }: NonNullable<FailureRule["onExitCodes"]>,
  path: string,
  report: Report,
): void {
  values.forEach((value, index) => {
    const at = `${path}.values[${index}]`;
    if (operator === "In" && value === 0) report(at, "0 is no failure, and fits no rule");
    if (index === 0 || value > values[index - 1]!) return;
    report(at, values.indexOf(value) < index ? `${value} is given twice` : "must be in ascending order");
  });
}

function checkSuccessPolicy({ successPolicy, completionMode, completions }: JobSpec, report: Report): void {
  if (successPolicy === undefined) return;
  if (completionMode !== "Indexed") report("spec.successPolicy", "needs completionMode Indexed");
  const most = completions ?? 0;
  successPolicy.rules.forEach(({ succeededIndexes, succeededCount }, index) => {
    const path = `spec.successPolicy.rules[${index}]`;
    if (succeededIndexes === undefined && succeededCount === undefined) {
      report(path, "needs succeededIndexes or succeededCount, or both");
    }
    const indexes = succeededIndexes === undefined ? undefined : parseIndexes(succeededIndexes);
    if (indexes !== undefined && indexes.highest >= most) {
      report(`${path}.succeededIndexes`, `names index ${indexes.highest}, and completions is ${most}`);
    }
    const among = Math.min(most, indexes?.count ?? most);
    if ((succeededCount ?? 0) > among) {
      report(`${path}.succeededCount`, `is more than there are: ${among}`);
    }
  });
}
