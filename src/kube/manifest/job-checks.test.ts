// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseManifest } from "./parse.ts";

/** A Job of one field a line, whose first field stands in line 5. */
const job = (fields: string, { kind = "Job", restartPolicy = "Never" } = {}) => {
  const template = `template: {spec: {restartPolicy: ${restartPolicy}, initContainers: [{name: first, image: i}], containers: [{name: app, image: i}]}}`;
  return kind === "Job"
    ? `apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n${fields}\n  ${template}\n`
    : `apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}\nspec:\n  schedule: "0 0 * * *"\n  jobTemplate:\n    spec:\n    ${fields}\n      ${template}\n`;
};
const parsed = (text: string) => parseManifest([{ name: "j.yaml", text }]);
const refused = (text: string) => () => parsed(text);
const rule = (text: string, more = "") => `${more}  podFailurePolicy:\n    rules:\n    - ${text}`;
const codes = (fields: string) => job(rule(`{action: FailJob, onExitCodes: {${fields}}}`));
const at = "spec.podFailurePolicy.rules[0]";

test("the rules of a podFailurePolicy go with the pod", () => {
  const text = job(
    rule("{action: FailJob, onExitCodes: {containerName: first, operator: In, values: [1, 255]}}"),
  );
  expect(parsed(text).pods[0]?.job).toEqual({
    backoffLimit: 6,
    failureRules: [
      { action: "FailJob", onExitCodes: { containerName: "first", operator: "In", values: [1, 255] } },
    ],
  });
});

test("what an API server refuses of a podFailurePolicy is refused where it stands", () => {
  for (const [text, problem] of [
    [codes("operator: In, values: [0, 1]"), `j.yaml:7:62: ${at}.onExitCodes.values[0]: 0 is no failure`],
    [codes("operator: In, values: [2, 1]"), `${at}.onExitCodes.values[1]: must be in ascending order`],
    [codes("operator: NotIn, values: [0, 2, 2]"), `${at}.onExitCodes.values[2]: 2 is given twice`],
    [codes("operator: In, values: []"), `${at}.onExitCodes.values: needs at least 1 entry`],
    [
      codes("operator: in, values: [1]"),
      `${at}.onExitCodes.operator: expected one of In, NotIn, got "in"; did`,
    ],
    [codes("values: [1]"), `${at}.onExitCodes.operator: is required`],
    [
      codes(`operator: In, values: [${Array.from({ length: 256 }, (_, i) => i + 1)}]`),
      "more than 255 entries",
    ],
    [
      codes("containerName: ap, operator: In, values: [1]"),
      `${at}.onExitCodes.containerName: there is no container "ap" in the template`,
    ],
    [
      job(rule("{action: Fail, onExitCodes: {operator: In, values: [1]}}")),
      `${at}.action: expected one of FailJob,`,
    ],
    [
      job(rule("{action: FailIndex, onExitCodes: {operator: In, values: [1]}}")),
      "FailIndex needs backoffLimitPerIndex",
    ],
    [job(rule("{action: Count}")), `j.yaml:7:7: ${at}: needs one of onExitCodes and onPodConditions`],
    [job(rule("{action: Count, onPodConditions: []}")), `${at}: needs one of`],
    [
      job(rule("{action: Count, onPodConditions: [{type: X}], onExitCodes: {operator: In, values: [1]}}")),
      `${at}: needs one of`,
    ],
    [
      job(rule("{action: Count, onPodConditions: [{type: X, status: Yes}]}")),
      `${at}.onPodConditions[0].status: expected one of True, False, Unknown`,
    ],
    [
      job(rule("{action: Count, onPodConditions: [{type: DisruptionTarget}]}"), {
        restartPolicy: "OnFailure",
      }),
      "spec.podFailurePolicy: needs restartPolicy Never in the template",
    ],
    [
      job(
        rule(
          "{action: Ignore, onExitCodes: {operator: In, values: [1]}}",
          "  podReplacementPolicy: TerminatingOrFailed\n",
        ),
      ),
      "j.yaml:5:25: spec.podReplacementPolicy: must be Failed beside podFailurePolicy",
    ],
    [
      job(rule("{action: Count}").replaceAll("\n", "\n    "), { kind: "CronJob" }),
      "spec.jobTemplate.spec.podFailurePolicy.rules[0]: needs one of",
    ],
  ] as const) {
    expect(refused(text)).toThrow(problem);
  }
});

test("conditions that no pod comes to have here are told of", () => {
  const of = (condition: string) =>
    parsed(job(rule(`{action: Ignore, onPodConditions: [${condition}]}`))).notes;
  expect(of("{type: DisruptionTarget}")).toEqual([]);
  const why = "has no effect: the only condition that a pod comes to have here is DisruptionTarget, as True";
  expect(of("{type: example.com/Broken}")).toEqual([`j.yaml:7:42: ${at}.onPodConditions[0]: ${why}`]);
  expect(of('{type: DisruptionTarget, status: "False"}')).toHaveLength(1);
});

test("that a pod is replaced once it has failed is what happens, and that it is earlier is told of", () => {
  expect(parsed(job("  podReplacementPolicy: Failed")).notes).toEqual([]);
  expect(parsed(job("  podReplacementPolicy: TerminatingOrFailed")).notes).toEqual([
    "j.yaml:5:25: spec.podReplacementPolicy: has no effect: a pod is run anew only once it has ended",
  ]);
});

const success = (rules: string, more = "completionMode: Indexed") =>
  job(`  completions: 4\n  ${more}\n  successPolicy: {rules: [${rules}]}`);

test("the rules of a successPolicy go with each pod, and their numbers have to be there", () => {
  expect(parsed(success('{succeededIndexes: "0,2-3", succeededCount: 2}')).pods[3]?.job).toMatchObject({
    index: 3,
    successRules: [{ succeededIndexes: "0,2-3", succeededCount: 2 }],
  });
  for (const [rules, problem] of [
    ["", "spec.successPolicy.rules: needs at least 1 entry"],
    ["{}", "rules[0]: needs succeededIndexes or succeededCount, or both"],
    ["{succeededCount: 5}", "rules[0].succeededCount: is more than there are: 4"],
    ["{succeededCount: 0}", "succeededCount: expected a whole number from 1 to 100"],
    ['{succeededIndexes: "1-2", succeededCount: 3}', "rules[0].succeededCount: is more than there are: 2"],
    ['{succeededIndexes: "2-4"}', "rules[0].succeededIndexes: names index 4, and completions is 4"],
    ['{succeededIndexes: "3,1"}', 'expected indexes in ascending order as in 1,3-5, got "3,1"'],
    ['{succeededIndexes: "2-1"}', "expected indexes in ascending order"],
    ['{succeededIndexes: ""}', "expected indexes in ascending order"],
  ] as const) {
    expect(refused(success(rules))).toThrow(problem);
  }
  expect(refused(success("{succeededCount: 1}", "parallelism: 1"))).toThrow(
    "spec.successPolicy: needs completionMode Indexed",
  );
});
