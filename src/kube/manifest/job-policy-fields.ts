// SPDX-License-Identifier: Apache-2.0
import * as names from "./names.ts";
import { integer, oneOf, string } from "./scalars.ts";
import { list, record, required, type TypeOf } from "./schema.ts";

/** What a Job makes of the ends of its pods (batch/v1), with the bounds that an API server sets. */

const MAX_RULES = 20;

const PodFailurePolicyRule = record({
  action: required(oneOf("FailJob", "FailIndex", "Ignore", "Count")),
  onExitCodes: record({
    containerName: string(names.dnsLabel),
    operator: required(oneOf("In", "NotIn")),
    values: required(list(integer(0, 2_147_483_647), 255, 1)),
  }),
  onPodConditions: list(
    record({
      type: required(string(names.qualifiedName)),
      status: oneOf("True", "False", "Unknown"),
    }),
    MAX_RULES,
  ),
});

export const PodFailurePolicy = record({ rules: required(list(PodFailurePolicyRule, MAX_RULES)) });

const SuccessPolicyRule = record({
  succeededIndexes: string(names.indexes),
  succeededCount: integer(1, 100),
});

export const SuccessPolicy = record({ rules: required(list(SuccessPolicyRule, MAX_RULES, 1)) });

export const JOB_POLICY_FIELDS = {
  PodFailurePolicy,
  PodFailurePolicyRule,
  SuccessPolicy,
  SuccessPolicyRule,
} as const;

export type FailureRule = TypeOf<typeof PodFailurePolicyRule>;
export type SuccessRule = TypeOf<typeof SuccessPolicyRule>;
