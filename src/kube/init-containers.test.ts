// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { quiet, until, useKeeper } from "./keeper-harness.ts";

const k = useKeeper();

const APP = "containers: [{name: app, image: 'x:1'}]";
const STEPS = `initContainers: [{name: one, image: 'x:1'}, {name: two, image: 'x:1'}], ${APP}`;
const SIDECARS = `initContainers: [{name: proxy, image: 'x:1', restartPolicy: Always}, {name: step, image: 'x:1'},
  {name: shipper, image: 'x:1', restartPolicy: Always}], ${APP}`;

const runs = (name: string) => until(() => k.runtime.running(name), `${name} runs`);
const exit = (name: string, code: number) => k.runtime.exit(k.runtime.running(name)!.id, code);

describe("init containers", () => {
  test("run one after another, and the others once all have succeeded", async () => {
    k.run(`{${STEPS}}`);
    await runs("one");
    await quiet();
    expect(k.creations()).toEqual(["createContainer one/0"]);
    expect(k.status()).toMatchObject({ phase: "Pending" });
    expect(k.app()).toMatchObject({ state: "waiting", reason: "PodInitializing" });
    exit("one", 0);
    await runs("two");
    exit("two", 0);
    await runs("app");
    expect(k.creations()).toEqual(["one", "two", "app"].map((name) => `createContainer ${name}/0`));
    expect(k.status().phase).toBe("Running");
    expect(k.status().initContainers).toMatchObject([{ state: "terminated" }, { state: "terminated" }]);
  });

  test("are tried again with back-off where they fail, and hold up what follows", async () => {
    k.run(`{${STEPS}}`);
    await runs("one");
    exit("one", 1);
    await until(() => k.runtime.running("one")?.attempt === 1, "a second try");
    exit("one", 1);
    await quiet();
    expect(k.status().initContainers[0]).toMatchObject({ reason: "CrashLoopBackOff", exitCode: 1 });
    k.clock.pass(10_000);
    await until(() => k.runtime.running("one")?.attempt === 2, "a third try");
    expect(k.creations()).not.toContain("createContainer two/0");
  });

  test("fail the pod for good under Never", async () => {
    k.run(`{restartPolicy: Never, ${STEPS}}`);
    await runs("one");
    exit("one", 4);
    await until(() => k.status().phase === "Failed", "the pod failed");
    k.clock.pass(60_000);
    await quiet();
    expect(k.creations()).toEqual(["createContainer one/0"]);
  });

  test("that have succeeded stay so while the daemon restarts and the others crash", async () => {
    k.run(`{${STEPS}}`);
    await runs("one");
    exit("one", 0);
    await runs("two");
    await k.close();
    exit("two", 0);
    k.open();
    await runs("app");
    exit("app", 1);
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs again");
    expect(k.creations().filter((call) => !call.includes("app"))).toHaveLength(2);
  });

  test("run again in a new sandbox, at once however often", async () => {
    k.run(`{${STEPS}}`);
    for (let attempt = 0; attempt < 5; attempt++) {
      for (const name of ["one", "two"]) {
        await until(() => k.runtime.running(name)?.attempt === attempt, `${name} runs, attempt ${attempt}`);
        exit(name, 0);
      }
      await runs("app");
      k.runtime.endSandbox(k.status().sandboxId, "pause died of SIGKILL");
    }
    await until(() => k.runtime.running("one")?.attempt === 5, "one runs again");
  });
});

describe("sidecars", () => {
  test("run on beside those that come after them, and are started in their order", async () => {
    k.run(`{${SIDECARS}}`);
    await runs("step");
    await quiet();
    expect(k.runtime.running("shipper")).toBeUndefined();
    exit("step", 0);
    await runs("app");
    expect(k.creations()).toEqual(
      ["proxy", "step", "shipper", "app"].map((name) => `createContainer ${name}/0`),
    );
    expect(k.runtime.running("proxy") && k.runtime.running("shipper")).toBeTruthy();
  });

  test("are restarted whatever they end with, under Never too, and nothing else is", async () => {
    k.run(`{restartPolicy: Never, ${SIDECARS}}`);
    await runs("step");
    exit("proxy", 0);
    await until(() => k.runtime.running("proxy")?.attempt === 1, "proxy runs again");
    exit("step", 0);
    await runs("app");
    exit("shipper", 1);
    await until(() => k.runtime.running("shipper")?.attempt === 1, "shipper runs again");
    expect(k.creations().filter((call) => /app|step/.test(call))).toHaveLength(2);
  });

  test("end last, the last first, when the others are done, and do not fail the pod", async () => {
    k.run(`{restartPolicy: Never, terminationGracePeriodSeconds: 9, ${SIDECARS}}`);
    await runs("step");
    exit("step", 0);
    await runs("app");
    const [proxy, shipper] = ["proxy", "shipper"].map((name) => k.runtime.running(name)!.id);
    exit("app", 0);
    await until(() => k.status().phase === "Succeeded", "the pod has succeeded");
    const stops = k.runtime.calls.filter((call) => call.startsWith("stopContainer"));
    expect(stops).toEqual([`stopContainer ${shipper} 9000`, `stopContainer ${proxy} 9000`]);
    expect(k.status().initContainers.map(({ state }) => state)).toEqual(Array(3).fill("terminated"));
  });

  test("end after the others when the pod is removed, with what is left of the grace", async () => {
    k.run(`{${SIDECARS}}`);
    await runs("step");
    exit("step", 0);
    await runs("app");
    const ids = ["app", "shipper", "proxy"].map((name) => k.runtime.running(name)!.id);
    k.runtime.ignoresStop = true;
    const gone = k.keeper.delete("default", "p", 10);
    const stops = () => k.runtime.calls.filter((call) => call.startsWith("stopContainer"));
    for (const count of [1, 2, 3]) {
      await until(() => stops().length === count, `${count} are told to stop`);
      await quiet();
      expect(stops()).toHaveLength(count);
      k.clock.pass(10_000);
    }
    await gone;
    expect(stops()).toEqual(
      [`${ids[0]} 10000`, `${ids[1]} 2000`, `${ids[2]} 2000`].map((stop) => `stopContainer ${stop}`),
    );
  });

  test("that end slowly are killed when less grace is asked for", async () => {
    k.run(`{restartPolicy: Never, ${SIDECARS}}`);
    await runs("step");
    exit("step", 0);
    await runs("app");
    k.runtime.ignoresStop = true;
    exit("app", 0);
    await until(
      () => k.runtime.calls.some((call) => call.startsWith("stopContainer")),
      "a sidecar is stopped",
    );
    await k.keeper.delete("default", "p", 0);
    expect(k.records.size).toBe(0);
  });
});
