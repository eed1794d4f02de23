// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { quiet, until, useKeeper } from "./keeper-harness.ts";
import { podLogsDir } from "./pod.ts";
import { messageFile } from "./termination-message.ts";

const k = useKeeper();

const app = (fields: string, more = "") => `{containers: [{name: app, image: 'x:1', ${fields}}]${more}}`;
const runs = async (attempt = 0) => {
  await until(() => k.runtime.running("app")?.attempt === attempt, `attempt ${attempt} runs`);
  await quiet();
};
const execs = () => k.runtime.calls.filter((call) => call.startsWith("exec"));
const stops = () => k.runtime.calls.filter((call) => /^(exec|stopContainer)/.test(call));

describe("a postStart hook", () => {
  test("comes once after the start, and probes after it; a later daemon does not repeat it", async () => {
    const gate = Promise.withResolvers<void>();
    const exec = k.runtime.exec.bind(k.runtime);
    k.runtime.exec = async (id, command, timeoutMs) => {
      if (command[0] === "hook") await gate.promise;
      return exec(id, command, timeoutMs);
    };
    const probe = "readinessProbe: {exec: {command: [check]}}";
    k.run(app(`lifecycle: {postStart: {exec: {command: [hook]}}}, ${probe}`));
    await runs();
    k.clock.pass(1000);
    await quiet();
    expect(execs()).toEqual([]);
    expect(k.app().ready).toBe(false);
    gate.resolve();
    await until(() => execs().length > 0, "the hook is over");
    await quiet();
    k.clock.pass(1000);
    await until(() => k.app().ready, "it is ready");
    await k.close();
    k.open();
    await quiet();
    expect(execs().filter((call) => call.includes("hook"))).toHaveLength(1);
  });

  test("that fails ends the container, which is restarted and says why", async () => {
    let code = 1;
    k.runtime.execs.set("app", () => code--);
    k.run(app("lifecycle: {postStart: {exec: {command: [hook]}}}", ", restartPolicy: OnFailure"));
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs again");
    expect(k.records.get("default/p")?.containers["app"]?.lastExit?.message).toBe(
      "postStart hook failed: hook ended with exit code 1",
    );
  });
});

describe("a preStop hook", () => {
  test("comes before the stop signal", async () => {
    k.run(app("lifecycle: {preStop: {exec: {command: [bye]}}}"));
    await runs();
    const { id } = k.runtime.running("app")!;
    await k.keeper.delete("default", "p", 10);
    expect(stops()).toEqual(["exec app/0 bye", `stopContainer ${id} 10000`]);
  });

  test("is no part of a container that ends by itself, nor of one that is killed", async () => {
    k.run(app("lifecycle: {preStop: {exec: {command: [bye]}}}"));
    await runs();
    k.runtime.exit(k.runtime.running("app")!.id, 1);
    await runs(1);
    await k.keeper.delete("default", "p", 0);
    expect(execs()).toEqual([]);
  });

  test("takes its time of the grace, all of it at most, and gives way to less", async () => {
    k.run(app("lifecycle: {preStop: {sleep: {seconds: 60}}}"));
    await runs();
    const { id } = k.runtime.running("app")!;
    const slow = k.keeper.delete("default", "p", 30);
    await quiet();
    k.clock.pass(29_000);
    await quiet();
    expect(stops()).toEqual([]);
    const quick = k.keeper.delete("default", "p", 0);
    await until(() => stops().length > 0, "it is stopped");
    k.clock.pass(1000);
    await Promise.all([slow, quick]);
    expect(stops()[0]).toBe(`stopContainer ${id} 0`);
  });

  test("that takes too long leaves the container two seconds", async () => {
    k.run(app("lifecycle: {preStop: {sleep: {seconds: 60}}}"));
    await runs();
    const { id } = k.runtime.running("app")!;
    const gone = k.keeper.delete("default", "p", 30);
    await quiet();
    k.clock.pass(30_000);
    await gone;
    expect(stops()).toEqual([`stopContainer ${id} 2000`]);
  });
});

describe("last words", () => {
  const end = async (fields: string, write: () => void) => {
    k.run(app(fields, ", restartPolicy: Never"));
    await runs();
    write();
    k.runtime.exit(k.runtime.running("app")!.id, 1);
    await until(() => k.status().phase === "Failed", "the pod failed");
    return k.app().message;
  };
  const file = () => messageFile(k.home, k.status().pod, "app", 0);

  test("are what the container wrote to its file, which is mounted where it says", async () => {
    const said = await end("terminationMessagePath: /tmp/why", () =>
      writeFileSync(file(), `no\u001bd\n${"x".repeat(9000)}`),
    );
    expect(said).toStartWith("no\ufffdd\nxxx");
    expect(said.length).toBe(4096);
    const { mounts } = [...k.runtime.containers.values()][0]!.config;
    expect(mounts).toContainEqual(expect.objectContaining({ containerPath: "/tmp/why", hostPath: file() }));
  });

  test("are the end of the log under FallbackToLogsOnError", async () => {
    const said = await end("terminationMessagePolicy: FallbackToLogsOnError", () => {
      const directory = join(podLogsDir(k.home, k.status().pod), "app");
      mkdirSync(directory, { recursive: true });
      const lines = ["one", "two"].map((text) => `2026-01-01T00:00:00.0Z stderr F ${text}\n`);
      writeFileSync(join(directory, "0.log"), lines.join(""));
    });
    expect(said).toBe("one\ntwo");
  });
});

describe("activeDeadlineSeconds", () => {
  test("fails the pod and ends its containers with their grace, across daemons", async () => {
    k.run(app("stdin: false", ", activeDeadlineSeconds: 60, terminationGracePeriodSeconds: 3"));
    await runs();
    const { id } = k.runtime.running("app")!;
    k.clock.pass(30_000);
    await quiet();
    await k.close();
    k.open();
    await quiet();
    k.clock.pass(29_999);
    await quiet();
    expect(k.status().phase).toBe("Running");
    k.clock.pass(1);
    await until(() => k.status().phase === "Failed", "the pod failed");
    expect(k.status()).toMatchObject({ reason: "DeadlineExceeded" });
    expect(k.app()).toMatchObject({ state: "terminated", exitCode: 143 });
    expect(stops()).toEqual([`stopContainer ${id} 3000`]);
    k.clock.pass(600_000);
    await quiet();
    expect(k.creations()).toHaveLength(1);
  });

  test("is nothing to a pod that was done before", async () => {
    k.run(app("stdin: false", ", activeDeadlineSeconds: 60, restartPolicy: Never"));
    await runs();
    k.runtime.exit(k.runtime.running("app")!.id, 0);
    await until(() => k.status().phase === "Succeeded", "it has succeeded");
    k.clock.pass(600_000);
    await quiet();
    expect(k.status()).toMatchObject({ phase: "Succeeded", reason: "" });
  });
});
