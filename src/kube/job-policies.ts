// SPDX-License-Identifier: Apache-2.0
import { stepsOf } from "./container-order.ts";
import { matchesExitCode } from "./exit-codes.ts";
import { parseIndexes } from "./indexes.ts";
import type { FailureRule, SuccessRule } from "./manifest/job-policy-fields.ts";
import type { PodRecord } from "./pod-record.ts";

/** What a Job's podFailurePolicy makes of a pod that has failed. */
export interface FailureVerdict {
  readonly action: FailureRule["action"];
  /** As in `container app ended with exit code 42, for which rule 0 of podFailurePolicy fails the Job`. */
  readonly message: string;
}

/** By the first rule that speaks of how the pod ended; one of which none does is counted. */
export function failureVerdict(record: PodRecord): FailureVerdict {
  for (const [index, rule] of (record.pod.job?.failureRules ?? []).entries()) {
    const what = exitWords(record, rule) ?? conditionWords(record, rule);
    if (what === undefined) continue;
    const { action } = rule;
    return { action, message: `${what}, for which rule ${index} of podFailurePolicy ${WORDS[action]}` };
  }
  return { action: "Count", message: "" };
}

const WORDS: Readonly<Record<FailureRule["action"], string>> = {
  FailJob: "fails the Job",
  FailIndex: "fails the pod's index",
  Ignore: "does not count it",
  Count: "counts it",
};

/** The containers' ends first, then those of init containers; one that succeeded fits no rule. */
function exitWords({ pod, containers }: PodRecord, { onExitCodes }: FailureRule): string | undefined {
  if (onExitCodes === undefined) return undefined;
  const { containerName } = onExitCodes;
  for (const { name } of [...pod.spec.containers, ...stepsOf(pod.spec)]) {
    const exitCode = containers[name]?.lastExit?.exitCode ?? 0;
    if (exitCode === 0 || (containerName !== undefined && containerName !== name)) continue;
    if (matchesExitCode(onExitCodes, exitCode)) return `container ${name} ended with exit code ${exitCode}`;
  }
  return undefined;
}

/** The one condition that a pod comes to have here: what it ran in was taken from it. */
export const DISRUPTION = "DisruptionTarget";

function conditionWords(
  { containers }: PodRecord,
  { onPodConditions = [] }: FailureRule,
): string | undefined {
  const isDisrupted = Object.values(containers).some(({ lastExit }) => lastExit?.isDisrupted);
  const isAsked = onPodConditions.some(
    ({ type, status = "True" }) => type === DISRUPTION && status === "True",
  );
  return isDisrupted && isAsked ? `the pod was disrupted (${DISRUPTION})` : undefined;
}

/** Whether the pods of an Indexed Job that have succeeded are enough for it. */
export function areEnough(rules: readonly SuccessRule[], succeeded: readonly number[]): boolean {
  return rules.some(({ succeededIndexes, succeededCount }) => {
    const indexes = succeededIndexes === undefined ? undefined : parseIndexes(succeededIndexes);
    const counted = succeeded.filter((index) => indexes?.has(index) ?? true).length;
    return counted >= (succeededCount ?? indexes?.count ?? Number.POSITIVE_INFINITY);
  });
}
