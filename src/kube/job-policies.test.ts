// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { quiet, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { PodStatus } from "./pod-status.ts";

const k = useKeeper();

function runJob(fields: string, more = ""): void {
  const text = `apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {${fields}, template: {spec: {restartPolicy: Never, ${more} containers: [{name: app, image: "nginx:1"}, {name: log, image: "nginx:1"}]}}}\n`;
  k.keeper.run(parseManifest([{ name: "job.yaml", text }]).pods);
}

function pod(name = "j"): PodStatus | undefined {
  return k.keeper.list().find((status) => status.pod.name === name);
}

/** Ends a container of a pod once it runs in this attempt, from 0. */
async function exit(code: number, { attempt = 0, container = "app", of = "j" } = {}): Promise<void> {
  const find = () => pod(of)?.containers.find(({ name }) => name === container);
  const runs = () => find()?.state === "running" && k.records.get(`default/${of}`);
  await until(() => runs() && find()!.restarts === attempt, `${of} runs in attempt ${attempt}`);
  k.runtime.exit(find()!.containerId, code);
}

const both = async (code: number, attempt = 0) => {
  await exit(code, { attempt });
  await exit(0, { attempt, container: "log" });
};

/** Lets the wait for the next attempt pass. */
async function retried(times: number): Promise<void> {
  await until(() => k.records.get("default/j")?.retryAtMs !== undefined, "it waits");
  k.clock.pass(360_000);
  await until(() => k.records.get("default/j")?.retries === times, `retry ${times} begins`);
}

/** Until it is written down why. */
const hasFailed = (name = "j") =>
  until(() => pod(name)?.phase === "Failed" && pod(name)?.reason !== "", `${name} has failed`);

const ended = (status: PodStatus | undefined) => ({ phase: status?.phase, reason: status?.reason });

test("an exit code that a rule names fails the Job at once", async () => {
  runJob(
    "backoffLimit: 5, podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {containerName: app, operator: In, values: [3, 42]}}]}",
  );
  // The rule speaks of the other container.
  await exit(0);
  await exit(42, { container: "log" });
  await retried(1);
  await both(42, 1);
  await hasFailed();
  expect(pod()).toMatchObject({
    reason: "PodFailurePolicy",
    message: "container app ended with exit code 42, for which rule 0 of podFailurePolicy fails the Job",
  });
});

test("the first rule that fits decides; what is ignored does not count, and what no rule names does", async () => {
  const rules = [
    "{action: Ignore, onExitCodes: {operator: In, values: [7]}}",
    "{action: Count, onExitCodes: {operator: In, values: [8]}}",
    "{action: FailJob, onExitCodes: {operator: NotIn, values: [9]}}",
  ];
  runJob(`backoffLimit: 1, podFailurePolicy: {rules: [${rules}]}`);
  await both(7);
  await retried(1);
  await both(7, 1);
  await retried(2);
  await both(8, 2);
  await retried(3);
  // A daemon that starts anew knows what was counted.
  await k.close();
  k.open();
  await both(7, 3);
  await retried(4);
  await both(9, 4);
  await hasFailed();
  expect(pod()).toMatchObject({
    reason: "BackoffLimitExceeded",
    message: "the Job failed 2 times; its backoffLimit is 1",
  });
});

test("a rule may speak of init containers", async () => {
  runJob(
    "podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {containerName: first, operator: NotIn, values: [1]}}]}",
    'initContainers: [{name: first, image: "nginx:1"}],',
  );
  await until(() => pod()?.initContainers[0]?.state === "running", "the init container runs");
  k.runtime.exit(pod()!.initContainers[0]!.containerId, 2);
  await hasFailed();
  expect(pod()?.reason).toBe("PodFailurePolicy");
});

test("a pod whose sandbox was taken from it was disrupted, and one that ends by itself was not", async () => {
  const rules = "rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]";
  runJob(`backoffLimit: 0, podFailurePolicy: {${rules}}`);
  await until(() => pod()?.phase === "Running", "it runs");
  k.runtime.endSandbox(pod()!.sandboxId, "the pause was killed");
  await retried(1);
  await both(1, 1);
  await hasFailed();
  expect(pod()?.message).toBe("the Job failed once; its backoffLimit is 0");
});

describe("where processes are shared the containers' ends are told of before the pause's", () => {
  const rules = "rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]";
  const run = () => runJob(`backoffLimit: 0, podFailurePolicy: {${rules}}`, "shareProcessNamespace: true,");

  test("and what they mean is decided a moment later", async () => {
    run();
    await both(137);
    await quiet();
    expect(pod()?.phase).toBe("Pending");
    k.runtime.endSandbox(pod()!.sandboxId, "the pause was killed");
    await retried(1);
    await both(137, 1);
    await quiet();
    k.clock.pass(1000);
    await hasFailed();
    expect(pod()?.message).toBe("the Job failed once; its backoffLimit is 0");
  });

  test("but not of those that were long over", async () => {
    run();
    await exit(3);
    await quiet();
    k.clock.pass(5000);
    k.runtime.endSandbox(pod()!.sandboxId, "the pause was killed");
    await until(() => k.records.get("default/j")?.containers["log"]?.lastExit, "the other has ended too");
    const { app, log } = k.records.get("default/j")!.containers;
    expect([app?.lastExit?.isDisrupted, log?.lastExit?.isDisrupted]).toEqual([undefined, true]);
  });
});

test("without such a rule a disruption counts", async () => {
  runJob("backoffLimit: 0");
  await until(() => pod()?.phase === "Running", "it runs");
  k.runtime.endSandbox(pod()!.sandboxId, "the pause was killed");
  await hasFailed();
  expect(pod()?.reason).toBe("BackoffLimitExceeded");
});

const INDEXED = "completions: 3, parallelism: 3, completionMode: Indexed";

test("an index fails without another try, alone, and a rule of the Job takes all along", async () => {
  const rules = [
    "{action: FailIndex, onExitCodes: {operator: In, values: [5]}}",
    "{action: FailJob, onExitCodes: {operator: In, values: [6]}}",
  ];
  runJob(`${INDEXED}, backoffLimitPerIndex: 3, podFailurePolicy: {rules: [${rules}]}`);
  await exit(5, { of: "j-0" });
  await exit(0, { of: "j-0", container: "log" });
  await hasFailed("j-0");
  expect(pod("j-0")).toMatchObject({
    reason: "FailedIndex",
    message:
      "container app ended with exit code 5, for which rule 0 of podFailurePolicy fails the pod's index",
  });
  await quiet();
  expect([pod("j-1")?.phase, pod("j-2")?.phase]).toEqual(["Running", "Running"]);
  await exit(0, { of: "j-1" });
  await exit(0, { of: "j-1", container: "log" });
  await exit(6, { of: "j-2" });
  await exit(0, { of: "j-2", container: "log" });
  await hasFailed("j-2");
  expect(ended(pod("j-2"))).toEqual({ phase: "Failed", reason: "PodFailurePolicy" });
  expect(pod("j-1")?.phase).toBe("Succeeded");
});

test("a Job that a rule fails takes the pods along that run, with a limit for each index too", async () => {
  const rules = "rules: [{action: FailJob, onExitCodes: {operator: In, values: [6]}}]";
  runJob(`${INDEXED}, backoffLimitPerIndex: 3, podFailurePolicy: {${rules}}`);
  await until(() => ["j-1", "j-2"].every((name) => pod(name)?.phase === "Running"), "they run");
  await exit(6, { of: "j-0" });
  await exit(0, { of: "j-0", container: "log" });
  await hasFailed("j-1");
  await hasFailed("j-2");
  expect(pod("j-1")).toMatchObject({
    reason: "PodFailurePolicy",
    message: expect.stringMatching(/^the Job was given up with its pod j-[02]: /),
  });
});

test("a Job is over once enough of its pods have succeeded; the others are stopped and removed", async () => {
  runJob(
    `completions: 4, parallelism: 3, completionMode: Indexed, successPolicy: {rules: [{succeededIndexes: "0", succeededCount: 1}, {succeededIndexes: "2-3"}, {succeededCount: 3}]}`,
  );
  await exit(0, { of: "j-1" });
  await exit(0, { of: "j-1", container: "log" });
  await until(() => pod("j-1")?.phase === "Succeeded" && pod("j-3")?.phase === "Running", "the last begins");
  await exit(0, { of: "j-2" });
  await exit(0, { of: "j-2", container: "log" });
  await until(() => pod("j-2")?.phase === "Succeeded", "it succeeds");
  await quiet();
  expect(k.keeper.list()).toHaveLength(4);
  await exit(0, { of: "j-3" });
  await exit(0, { of: "j-3", container: "log" });
  await until(() => k.keeper.list().length === 3, "the needless one goes");
  expect(
    k.keeper
      .list()
      .map(({ pod: { name }, phase }) => `${name} ${phase}`)
      .toSorted(),
  ).toEqual(["j-1 Succeeded", "j-2 Succeeded", "j-3 Succeeded"]);
});

test("a pod that failed knows whether its Job has succeeded without it", async () => {
  runJob(
    `completions: 2, parallelism: 2, completionMode: Indexed, backoffLimitPerIndex: 0, successPolicy: {rules: [{succeededIndexes: "1"}]}`,
  );
  await exit(3, { of: "j-0" });
  await exit(0, { of: "j-0", container: "log" });
  await hasFailed("j-0");
  expect(pod("j-0")?.jobSucceeded).toBe(false);
  await exit(0, { of: "j-1" });
  await exit(0, { of: "j-1", container: "log" });
  await until(() => pod("j-0")?.jobSucceeded === true, "the other was enough");
  expect(pod("j-0")?.phase).toBe("Failed");
});

test("of pods that take from a queue, one that succeeds is enough for the Job", async () => {
  runJob("parallelism: 2, backoffLimit: 0");
  await exit(0, { of: "j-1" });
  await exit(0, { of: "j-1", container: "log" });
  await until(() => pod("j-1")?.phase === "Succeeded", "one has seen the end of the queue");
  await exit(3, { of: "j-0" });
  await exit(0, { of: "j-0", container: "log" });
  await until(() => pod("j-0")?.phase === "Failed", "the other fails");
  expect(pod("j-0")?.jobSucceeded).toBe(true);
});
