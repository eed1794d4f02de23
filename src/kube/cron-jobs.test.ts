// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { type CronJobs, type CronRecord, keepCronJobs } from "./cron-jobs.ts";
import { tableOf, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";

const k = useKeeper();
const MINUTE = 60_000;
let records: Map<string, CronRecord>;
let jobs: CronJobs;
let said: string[];

beforeEach(() => {
  records = new Map();
  said = [];
  open();
});
afterEach(() => jobs.close());

function open(): void {
  const log = (message: string) => void said.push(message);
  jobs = keepCronJobs({ table: tableOf(records), keeper: k.keeper, clock: k.clock, log });
}

function jobOf(spec: string) {
  const text = `apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec: {schedule: "*/5 * * * *", ${spec} jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: "i:1"}]}}}}}\n`;
  return parseManifest([{ name: "f", text }]).cronJobs[0]!;
}
const names = () =>
  k.keeper
    .list()
    .map(({ pod }) => pod.name)
    .sort();
const started = (count: number) => until(() => k.creations().length === count, `${count} were started`);
/** To just after the next of the job's times. */
function toNextTime(): void {
  k.clock.pass(5 * MINUTE - (k.clock.wallMs() % (5 * MINUTE)) + 1);
}
const end = async (code: number) => {
  await until(() => k.runtime.running("app"), "it runs");
  k.runtime.exit(k.runtime.running("app")!.id, code);
};

test("a pod is run at each time, called after its minute, and old ones are removed", async () => {
  expect(jobs.apply(jobOf("successfulJobsHistoryLimit: 1,"))).toBe("created");
  expect(names()).toEqual([]);
  for (let run = 1; run <= 3; run++) {
    toNextTime();
    await started(run);
    await end(0);
    await until(() => k.keeper.list().every(({ phase }) => phase === "Succeeded"), "it has ended");
  }
  expect(names().at(-1)).toBe(`tick-${Math.floor(k.clock.wallMs() / MINUTE)}`);
  k.clock.pass(10_000);
  await until(() => names().length === 1, "one is kept");
  expect(k.keeper.list()[0]!.pod.owner).toBe("CronJob/tick");
});

test("Forbid waits for the one before, Replace ends it, Allow runs both", async () => {
  jobs.apply(jobOf("concurrencyPolicy: Forbid,"));
  toNextTime();
  await started(1);
  toNextTime();
  expect(names()).toHaveLength(1);
  await end(0);
  await until(() => k.keeper.list()[0]!.phase === "Succeeded", "it has ended");
  k.clock.pass(10_000);
  await started(2);
  expect(jobs.apply(jobOf("concurrencyPolicy: Allow,"))).toBe("updated");
  toNextTime();
  await started(3);
  expect(jobs.apply(jobOf("concurrencyPolicy: Replace,"))).toBe("updated");
  toNextTime();
  await started(4);
  await until(() => k.keeper.list().filter(({ phase }) => phase === "Running").length === 1, "one is left");
});

test("what came while the daemon was away is made up for once, unless it is too late", async () => {
  jobs.apply(jobOf("startingDeadlineSeconds: 60,"));
  jobs.close();
  k.clock.pass(30 * MINUTE);
  toNextTime();
  open();
  await started(1);
  jobs.close();
  toNextTime();
  k.clock.pass(2 * MINUTE);
  open();
  expect(said.join()).toContain("is left out: it is too late for it");
  expect(names()).toHaveLength(1);
});

test("a suspended one rests, and one that is deleted takes its pods along", async () => {
  jobs.apply(jobOf("suspend: true,"));
  toNextTime();
  expect(names()).toEqual([]);
  expect(jobs.list()[0]!.nextRunMs).toBeUndefined();
  expect(jobs.apply(jobOf(""))).toBe("updated");
  expect(jobs.apply(jobOf(""))).toBe("unchanged");
  expect(jobs.list()[0]!.nextRunMs! % (5 * MINUTE)).toBe(0);
  toNextTime();
  await started(jobs.list()[0]!.active.length);
  await jobs.delete("default", "tick");
  expect(names()).toEqual([]);
  expect(jobs.list()).toEqual([]);
  expect(jobs.delete("default", "tick")).rejects.toThrow("no CronJob tick");
});

test.each([
  ["* * * *", "expected five fields"],
  ["61 * * * *", "expected five fields"],
  ["TZ=UTC * * * * *", "put it into timeZone"],
  ["0 0 30 2 *", "never comes"],
])("the schedule %s is refused", (schedule, message) => {
  const text = `apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: t}\nspec: {schedule: "${schedule}", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: i}]}}}}}\n`;
  expect(() => parseManifest([{ name: "f", text }])).toThrow(message);
});

test("times are of the zone that is named", () => {
  const zone = (name: string) => {
    jobs.apply(jobOf(`timeZone: ${name},`.replace("*/5 * * * *", "")));
    return jobs.list()[0]!.job.policy.timeZone;
  };
  expect(zone("Asia/Kathmandu")).toBe("Asia/Kathmandu");
  expect(() => jobOf("timeZone: Mars/Olympus,")).toThrow("expected a time zone as in Europe/Berlin");
});
