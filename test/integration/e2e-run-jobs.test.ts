// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { pausePid } from "./harness/pods.ts";
import { parentOf } from "./harness/proc.ts";

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

test("what a Job makes of an end is for its podFailurePolicy to say", async () => {
  const { daemon } = fixture;
  const job = (rule: string, command: string) => `apiVersion: batch/v1
kind: Job
metadata: {name: picky}
spec:
  backoffLimit: 0
  podFailurePolicy: {rules: [${rule}]}
  template: {spec: {restartPolicy: Never, shareProcessNamespace: true, containers: [{name: app, image: busybox, command: [sh, -c, "${command}"]}]}}
`;
  const fatal = job("{action: FailJob, onExitCodes: {operator: In, values: [42]}}", "exit 42");
  const failed = await daemon.podrtWith({ stdin: fatal }, "run", "-");
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain(
    "container app ended with exit code 42, for which rule 0 of podFailurePolicy fails the Job (PodFailurePolicy)",
  );
  // A pod whose pause is killed is disrupted, which does not count: it is to run again, though not at once. In its
  // process namespace the others end before it.
  const disrupted = job("{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}", "exec sleep 1000");
  const kept = async () => (await daemon.pods.listPods({})).pods.find(({ name }) => name?.name === "picky");
  const disruptedBy = async (disrupt: (pause: number) => Promise<void>) => {
    await daemon.podrtWith({ stdin: disrupted }, "run", "--detach", "--wait", "60", "-");
    await disrupt(await pausePid(daemon, (await kept())!.sandboxId));
    await eventually("the pod waits to be run anew", async () => {
      const { phase, nextTryAtMs = 0n, message } = (await kept()) ?? {};
      if (phase !== "Pending" || nextTryAtMs === 0n) throw new Error(`it is ${phase}: ${message}`);
      return true;
    });
    expect((await daemon.podrt("rm", "-f", "picky")).code).toBe(0);
  };
  await disruptedBy(async (pause) => void process.kill(pause, "SIGKILL"));
  // As when the machine went down: daemon, monitor and pod are gone at once.
  await disruptedBy(async (pause) => {
    const monitor = parentOf(pause);
    await daemon.kill();
    for (const pid of [pause, monitor]) process.kill(pid, "SIGKILL");
    await daemon.start();
  });
});

test("a Job is over when its successPolicy says so, and the pods that still run are removed", async () => {
  const { daemon } = fixture;
  const job = `apiVersion: batch/v1
kind: Job
metadata: {name: enough}
spec:
  completions: 3
  parallelism: 3
  completionMode: Indexed
  successPolicy: {rules: [{succeededIndexes: "1"}]}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: busybox, command: [sh, -c, "[ $JOB_COMPLETION_INDEX = 1 ] || exec sleep 1000"]}]
`;
  expect((await daemon.podrtWith({ stdin: job }, "run", "--detach", "-")).code).toBe(0);
  await eventually("one is left, which has succeeded", async () => {
    const kept = (await daemon.pods.listPods({})).pods.filter(({ owner }) => owner === "Job/enough");
    const found = kept.map(({ name, phase }) => `${name?.name} ${phase}`);
    if (found.join() !== "enough-1 Succeeded") throw new Error(found.join());
    return true;
  });
  expect((await daemon.podrt("rm", "-f", "enough-1")).code).toBe(0);
  // In the foreground a needless pod is no failure.
  expect(await daemon.podrtWith({ stdin: job }, "run", "-")).toMatchObject({ code: 0 });
});
