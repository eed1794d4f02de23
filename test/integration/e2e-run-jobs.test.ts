// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";

const fixture = useDaemon();

test("a CronJob is kept, listed with its next run, and goes with down", async () => {
  const { daemon } = fixture;
  const manifest = `apiVersion: batch/v1
kind: CronJob
metadata: {name: yearly}
spec:
  schedule: "30 4 1 1 *"
  timeZone: UTC
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: busybox, command: ["true"]}]}}}}
`;
  const apply = () => daemon.podrtWith({ stdin: manifest }, "apply", "-");
  expect((await apply()).stdout).toBe("cronjob yearly created\n");
  await daemon.kill();
  await daemon.start();
  expect((await apply()).stdout).toBe("cronjob yearly unchanged\n");
  const [job] = JSON.parse((await daemon.podrt("cronjobs", "-o", "json")).stdout);
  expect(job).toMatchObject({ name: "yearly", schedule: "30 4 1 1 *", active: [] });
  expect(job.nextRun).toMatch(/^\d{4}-01-01T04:30:00Z$/);
  const again = await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "-");
  expect(again.stderr).toContain("CronJob default/yearly exists; change it with `podrt apply`");
  expect((await daemon.podrtWith({ stdin: manifest }, "down", "-")).stdout).toBe("cronjob yearly\n");
  expect(JSON.parse((await daemon.podrt("cronjobs", "-o", "json")).stdout)).toEqual([]);
});

test("an Indexed Job runs so many pods at once, each of which knows its number, and its pods go when it is over", async () => {
  const job = `apiVersion: batch/v1
kind: Job
metadata: {name: parts}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: busybox, command: [sh, -c, "echo part $JOB_COMPLETION_INDEX of $(hostname)"]}]
`;
  const { daemon } = fixture;
  const { code, stdout } = await daemon.podrtWith({ stdin: job }, "run", "-");
  expect(code).toBe(0);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => line.replace(/^.*\| /, ""));
  expect(lines.toSorted()).toEqual([0, 1, 2].map((index) => `part ${index} of parts-${index}`));
  const passing = job.replace("spec:", "spec:\n  ttlSecondsAfterFinished: 0");
  const ran = await daemon.podrtWith({ stdin: passing }, "run", "--detach", "-");
  expect(ran).toMatchObject({ code: 0 });
  await eventually("the pods are gone", async () => {
    const kept = (await daemon.pods.listPods({})).pods.filter(({ owner }) => owner === "Job/parts");
    if (kept.length > 0) throw new Error(kept.map(({ phase, message }) => `${phase} ${message}`).join("; "));
    return true;
  });
});
