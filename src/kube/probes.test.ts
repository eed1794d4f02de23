// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { quiet, until, useKeeper } from "./keeper-harness.ts";

const k = useKeeper();

const probe = (fields: string) => `{exec: {command: [check]}${fields === "" ? "" : `, ${fields}`}}`;
const app = (probes: string, more = "") => `{containers: [{name: app, image: 'x:1', ${probes}}]${more}}`;
const probings = () => k.runtime.calls.filter((call) => call.startsWith("exec")).length;
const runs = async () => {
  await until(() => k.runtime.running("app"), "it runs");
  await quiet();
};
/** Lets the fake time pass in seconds, each with what it causes. */
const pass = async (seconds: number) => {
  for (let second = 0; second < seconds; second++) {
    k.clock.pass(1000);
    await quiet();
  }
};

describe("a readiness probe", () => {
  test("makes a container ready, and no longer so after failureThreshold failures", async () => {
    let code = 1;
    k.runtime.execs.set("app", () => code);
    k.run(app(`readinessProbe: ${probe("initialDelaySeconds: 5, periodSeconds: 3, successThreshold: 2")}`));
    await runs();
    expect(k.app().ready).toBe(false);
    await pass(4);
    expect(probings()).toBe(0);
    await pass(1);
    expect(probings()).toBe(1);
    code = 0;
    await pass(3);
    expect(k.app().ready).toBe(false);
    await pass(3);
    expect(k.app()).toMatchObject({ ready: true, state: "running" });
    code = 1;
    await pass(6);
    expect(k.app().ready).toBe(true);
    await pass(3);
    expect(k.app().ready).toBe(false);
    expect(k.notes).toEqual(["ready app", "unready app"]);
    expect(k.creations()).toHaveLength(1);
  });

  test("has the kubelet's times where the manifest says none: every 10 s, three failures", async () => {
    let code = 0;
    k.runtime.execs.set("app", () => code);
    k.run(app(`readinessProbe: ${probe("")}`));
    await runs();
    await pass(1);
    expect(k.app().ready).toBe(true);
    code = 1;
    await pass(28);
    expect(k.app().ready).toBe(true);
    await pass(2);
    expect(k.app().ready).toBe(false);
    expect(probings()).toBe(4);
    // What it answered last is told while the container is not ready, and no more then.
    expect(k.app().probeFailure).toMatch(
      /^the readiness probe failed 3 times in a row, last at 20\d\d-.*Z: check ended with exit code 1$/,
    );
    code = 0;
    await pass(10);
    expect(k.app()).toMatchObject({ ready: true, probeFailure: "" });
  });

  test("is not forgotten by a daemon that restarts", async () => {
    k.run(app(`readinessProbe: ${probe("initialDelaySeconds: 30")}`));
    await runs();
    await pass(30);
    expect(k.app().ready).toBe(true);
    await k.close();
    k.open();
    expect(k.app().ready).toBe(true);
    k.runtime.execs.set("app", () => 1);
    await quiet();
    await pass(30);
    expect(k.app().ready).toBe(false);
  });

  test("of a container that was restarted begins anew", async () => {
    k.run(app(`readinessProbe: ${probe("initialDelaySeconds: 1")}`));
    await runs();
    await pass(1);
    expect(k.app().ready).toBe(true);
    k.runtime.exit(k.runtime.running("app")!.id, 1);
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs again");
    await quiet();
    expect(k.app().ready).toBe(false);
    await pass(1);
    expect(k.app().ready).toBe(true);
  });
});

describe("a liveness probe", () => {
  test("ends a container with its own grace, and the container is restarted", async () => {
    k.runtime.execs.set("app", () => 1);
    const liveness = probe("periodSeconds: 1, failureThreshold: 2, terminationGracePeriodSeconds: 4");
    k.run(app(`livenessProbe: ${liveness}`));
    await runs();
    const { id } = k.runtime.running("app")!;
    await pass(2);
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs again");
    expect(k.runtime.calls).toContain(`stopContainer ${id} 4000`);
    expect(k.records.get("default/p")?.containers["app"]?.lastExit?.message).toBe(
      "liveness probe failed: check ended with exit code 1",
    );
    expect(k.notes).toContain("unhealthy app Unhealthy");
  });

  test.each([
    ["OnFailure", 2],
    ["Never", 1],
  ])("under %s a container that ends well all the same is created %d times", async (policy, times) => {
    let code = 1;
    k.runtime.execs.set("app", () => code);
    k.runtime.ignoresStop = true;
    const liveness = probe("periodSeconds: 1, failureThreshold: 1");
    k.run(app(`livenessProbe: ${liveness}`, `, restartPolicy: ${policy}`));
    await runs();
    await pass(1);
    await until(() => k.runtime.calls.some((call) => call.startsWith("stopContainer")), "it is stopped");
    code = 0;
    k.runtime.exit(k.runtime.running("app")!.id, 0);
    await quiet();
    await pass(5);
    expect(k.creations()).toHaveLength(times);
  });

  test("ends a container by a later daemon, when the first did not come to it", async () => {
    k.runtime.execs.set("app", () => 1);
    k.runtime.failures.set("stopContainer", new Error("no"));
    k.run(app(`livenessProbe: ${probe("periodSeconds: 1, failureThreshold: 1")}`));
    await runs();
    await pass(1);
    await k.close();
    k.runtime.failures.clear();
    k.open();
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs again");
  });
});

describe("a startup probe", () => {
  test("is before the others, and ends a container that never starts up", async () => {
    const commands: string[] = [];
    k.runtime.execs.set("app", ([command]) => {
      commands.push(command!);
      return command === "start" && commands.length < 3 ? 1 : 0;
    });
    const startup = "{exec: {command: [start]}, periodSeconds: 2, failureThreshold: 5}";
    k.run(
      app(
        `startupProbe: ${startup}, livenessProbe: ${probe("")}, readinessProbe: {exec: {command: [ready]}}`,
      ),
    );
    await runs();
    await pass(3);
    expect(commands).toEqual(["start", "start"]);
    expect(k.app().ready).toBe(false);
    await pass(2);
    expect(commands.slice(2).toSorted()).toEqual(["check", "ready", "start"]);
    expect(k.app().ready).toBe(true);
  });

  test("that fails for good restarts the container", async () => {
    k.runtime.execs.set("app", () => 1);
    k.run(app(`startupProbe: ${probe("periodSeconds: 1, failureThreshold: 3")}`));
    await runs();
    await pass(1);
    expect(k.creations()).toHaveLength(1);
    await pass(2);
    expect(k.creations()).toHaveLength(2);
  });

  test("of a sidecar holds up those after it until it succeeds", async () => {
    let code = 1;
    k.runtime.execs.set("proxy", () => code);
    const proxy = `{name: proxy, image: 'x:1', restartPolicy: Always, startupProbe: ${probe("periodSeconds: 1, failureThreshold: 60")}}`;
    k.run(`{initContainers: [${proxy}], containers: [{name: app, image: 'x:1'}]}`);
    await until(() => k.runtime.running("proxy"), "the sidecar runs");
    await pass(5);
    expect(k.creations()).toHaveLength(1);
    code = 0;
    await pass(1);
    await runs();
  });
});

test("a pod that is removed is probed no more", async () => {
  k.run(app(`livenessProbe: ${probe("periodSeconds: 1")}`));
  await runs();
  await pass(2);
  await k.keeper.delete("default", "p");
  const before = probings();
  expect(before).toBeGreaterThan(0);
  await pass(3);
  expect(probings()).toBe(before);
});
