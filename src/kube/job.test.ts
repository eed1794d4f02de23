// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { quiet, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";

const k = useKeeper();

function runJob(restartPolicy: string, backoffLimit: number): void {
  const text = `apiVersion: batch/v1\nkind: Job\nmetadata: {name: p}\nspec: {backoffLimit: ${backoffLimit}, template: {spec: {restartPolicy: ${restartPolicy}, containers: [{name: app, image: "nginx:1"}]}}}\n`;
  k.keeper.run(parseManifest([{ name: "job.yaml", text }]).pods);
}

/** Ends the container that runs now. */
async function exit(code: number, attempt: number): Promise<void> {
  await until(
    () => k.creations().length === attempt && k.app().state === "running",
    `attempt ${attempt} runs`,
  );
  k.runtime.exit(k.app().containerId, code);
}

/** Until the next attempt is planned. */
async function waits(): Promise<void> {
  await until(() => k.clock.nextMs() !== undefined && k.records.get("default/p")?.retryAtMs, "it waits");
  expect(k.status().phase).toBe("Pending");
  await quiet();
}

test("a pod that fails is run anew, after a wait that grows, until the limit, and then has failed", async () => {
  runJob("Never", 2);
  await exit(1, 1);
  await waits();
  expect(k.creations()).toHaveLength(1);
  k.clock.pass(10_000);
  await exit(1, 2);
  await waits();
  k.clock.pass(10_000);
  expect(k.creations()).toHaveLength(2);
  k.clock.pass(10_000);
  await exit(1, 3);
  await until(() => k.status().phase === "Failed", "it is given up");
  expect(k.status()).toMatchObject({
    reason: "BackoffLimitExceeded",
    message: "the Job failed 3 times; its backoffLimit is 2",
  });
  // Each attempt has a log of its own.
  expect(k.creations().map((call) => call.split("/").at(-1))).toEqual(["0", "1", "2"]);
});

test("a retry that waits is gone on with after a restart of the daemon", async () => {
  runJob("Never", 1);
  await exit(1, 1);
  await waits();
  await k.close();
  k.open();
  k.clock.pass(10_000);
  await exit(0, 2);
  await until(() => k.status().phase === "Succeeded", "it succeeds");
});

test("containers that are started again count towards the limit", async () => {
  runJob("OnFailure", 1);
  await exit(1, 1);
  await exit(1, 2);
  await until(() => k.status().phase === "Failed", "it is given up");
  expect(k.status().reason).toBe("BackoffLimitExceeded");
});

test("one that succeeds is left alone", async () => {
  runJob("Never", 3);
  await exit(0, 1);
  await until(() => k.status().phase === "Succeeded", "it succeeds");
  expect(k.records.values().next().value?.retries).toBeUndefined();
});

test("a sidecar that is ended with the others fails nothing", async () => {
  const text = `apiVersion: batch/v1\nkind: Job\nmetadata: {name: p}\nspec: {template: {spec: {restartPolicy: Never, initContainers: [{name: side, image: "nginx:1", restartPolicy: Always}], containers: [{name: app, image: "nginx:1"}]}}}\n`;
  k.keeper.run(parseManifest([{ name: "job.yaml", text }]).pods);
  await until(() => k.app().state === "running", "both run");
  k.runtime.exit(k.app().containerId, 0);
  await until(
    () => k.records.get("default/p")?.containers["side"]?.lastExit?.exitCode === 143,
    "the sidecar is stopped",
  );
  await quiet();
  expect(k.status().phase).toBe("Succeeded");
  expect(k.records.get("default/p")?.retries).toBeUndefined();
});
