// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { quiet, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { PodStatus } from "./pod-status.ts";

const k = useKeeper();

const jobText = (fields: string, restartPolicy = "Never") =>
  `apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {${fields}, template: {spec: {restartPolicy: ${restartPolicy}, containers: [{name: app, image: "nginx:1"}]}}}\n`;
const podsOf = (text: string) => parseManifest([{ name: "job.yaml", text }]).pods;

function runJob(fields: string, restartPolicy = "Never"): void {
  k.keeper.run(podsOf(jobText(fields, restartPolicy)));
}

function pod(index: number): PodStatus {
  return k.keeper.list().find(({ pod: { name } }) => name === `j-${index}`)!;
}

const runs = (index: number) => () => pod(index).containers[0]?.state === "running";

/** Ends the container of the pod that runs now. */
async function exit(index: number, code: number): Promise<void> {
  await until(runs(index), `pod ${index} runs`);
  k.runtime.exit(pod(index).containers[0]!.containerId, code);
}

const phases = () =>
  k.keeper
    .list()
    .toSorted((a, b) => a.pod.name.localeCompare(b.pod.name))
    .map(({ phase }) => phase);

async function becomes(...expected: string[]): Promise<void> {
  await until(() => phases().join() === expected.join(), `all become ${expected.join()}`).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(k.keeper.list())}`);
  });
}

test("so many pods run at once, the next when one has succeeded", async () => {
  runJob("completions: 4, parallelism: 2");
  await becomes("Running", "Running", "Pending", "Pending");
  expect(pod(2)).toMatchObject({ reason: "Waiting", message: "2 other pods of the Job run before it" });
  await exit(1, 0);
  await becomes("Running", "Succeeded", "Running", "Pending");
  // A daemon that starts anew goes on.
  await k.close();
  k.open();
  await exit(0, 0);
  await becomes("Succeeded", "Succeeded", "Running", "Running");
  await exit(2, 0);
  await exit(3, 0);
  await becomes("Succeeded", "Succeeded", "Succeeded", "Succeeded");
});

test("one that failed is run anew in its place, and the failures of all count", async () => {
  runJob("completions: 3, parallelism: 2, backoffLimit: 2");
  await exit(0, 1);
  await until(() => k.records.get("default/j-0")?.retryAtMs, "it waits");
  await quiet();
  expect(phases()).toEqual(["Pending", "Running", "Pending"]);
  k.clock.pass(10_000);
  await exit(0, 1);
  await until(
    () => k.records.get("default/j-0")?.retries === 1 && k.records.get("default/j-0")?.retryAtMs,
    "again",
  );
  // The third failure of the Job ends it, with the pod that did nothing wrong and the one that never ran.
  await exit(1, 1);
  await becomes("Failed", "Failed", "Failed");
  expect(pod(1)).toMatchObject({
    reason: "BackoffLimitExceeded",
    message: "pods of the Job failed 3 times; its backoffLimit is 2",
  });
  expect(pod(2).reason).toBe("BackoffLimitExceeded");
  expect(pod(2).message).toStartWith("the Job was given up with its pod j-");
});

test("one that has succeeded stays so when the Job is given up, and one that runs is stopped", async () => {
  runJob("completions: 3, parallelism: 3, backoffLimit: 0");
  await exit(0, 0);
  await until(runs(2), "the last one runs");
  await exit(1, 1);
  await becomes("Succeeded", "Failed", "Failed");
  expect(k.runtime.calls.filter((call) => call.startsWith("stopContainer"))).not.toEqual([]);
});

test("with OnFailure restarts of all containers count", async () => {
  runJob("completions: 2, parallelism: 2, backoffLimit: 1", "OnFailure");
  await exit(0, 1);
  await exit(1, 1);
  await becomes("Failed", "Failed");
});

test("each pod of an Indexed Job knows its number, and may have a limit of its own", async () => {
  const text = jobText(
    "completions: 3, parallelism: 3, completionMode: Indexed, backoffLimitPerIndex: 0, maxFailedIndexes: 1",
  );
  const [, second] = podsOf(text);
  expect(second).toMatchObject({
    name: "j-1",
    owner: "Job/j",
    labels: { "batch.kubernetes.io/job-completion-index": "1" },
    annotations: { "batch.kubernetes.io/job-completion-index": "1" },
  });
  expect(second!.spec.hostname).toBe("j-1");
  expect(second!.spec.containers[0]!.env).toEqual([{ name: "JOB_COMPLETION_INDEX", value: "1" }]);
  k.keeper.run(podsOf(text));
  await exit(0, 1);
  await becomes("Failed", "Running", "Running");
  await exit(1, 1);
  await becomes("Failed", "Failed", "Failed");
  expect(pod(2).message).toBe("2 pods of the Job have failed; its maxFailedIndexes is 1");
});

test("without completions one that succeeds has seen the end of the work, and nothing is tried again", async () => {
  runJob("parallelism: 2");
  await exit(0, 0);
  await exit(1, 1);
  await becomes("Succeeded", "Failed");
  k.clock.pass(400_000);
  await quiet();
  expect(phases()).toEqual(["Succeeded", "Failed"]);
});

test("a Job that is suspended begins when it is applied otherwise, and its deadline counts from then", async () => {
  runJob("completions: 2, suspend: true, activeDeadlineSeconds: 5");
  k.clock.pass(10_000);
  await quiet();
  expect(phases()).toEqual(["Pending", "Pending"]);
  expect(pod(0)).toMatchObject({ reason: "Waiting", message: "the Job is suspended" });
  await k.keeper.apply(podsOf(jobText("completions: 2, activeDeadlineSeconds: 5")));
  await becomes("Running", "Pending");
  expect(pod(1).message).toBe("another pod of the Job runs before it");
});

test("the pods of a Job that is over are removed when their time has come", async () => {
  runJob("completions: 2, parallelism: 2, ttlSecondsAfterFinished: 60");
  await exit(0, 0);
  await becomes("Succeeded", "Running");
  k.clock.pass(100_000);
  await quiet();
  expect(phases()).toEqual(["Succeeded", "Running"]);
  await exit(1, 0);
  await becomes("Succeeded", "Succeeded");
  await until(() => k.records.get("default/j-1")?.finishedAtMs, "its end is noted");
  k.clock.pass(59_000);
  await quiet();
  expect(phases()).toHaveLength(2);
  k.clock.pass(1000);
  await until(() => k.keeper.list().length === 0, "they are gone");
  expect([...k.runtime.sandboxes.keys()]).toEqual([]);
});

test("what does not fit together is refused by name", () => {
  const refused =
    (fields: string, policy = "Never") =>
    () =>
      podsOf(jobText(fields, policy));
  expect(refused("completionMode: Indexed")).toThrow(
    "spec.completions: is required when completionMode is Indexed",
  );
  expect(refused("backoffLimitPerIndex: 1")).toThrow(
    "spec.backoffLimitPerIndex: needs completionMode Indexed",
  );
  expect(
    refused("completions: 2, completionMode: Indexed, backoffLimitPerIndex: 1, backoffLimit: 1"),
  ).toThrow("cannot be combined with backoffLimit");
  expect(refused("completions: 2, completionMode: Indexed, backoffLimitPerIndex: 1", "OnFailure")).toThrow(
    "needs restartPolicy Never",
  );
  expect(refused("maxFailedIndexes: 1")).toThrow("spec.maxFailedIndexes: needs backoffLimitPerIndex");
  expect(refused("completions: 101")).toThrow("spec.completions: expected a whole number from 1 to 100");
  const cron = (fields: string) => () =>
    podsOf(
      `apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {schedule: "@daily", jobTemplate: {spec: {${fields}, template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}}}\n`,
    );
  expect(cron("completions: 2")).toThrow(
    "spec.jobTemplate.spec.completions: is not supported yet for the Jobs",
  );
});
