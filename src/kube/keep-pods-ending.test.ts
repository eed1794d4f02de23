// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { ONE, quiet, until, useKeeper } from "./keeper-harness.ts";
import { podFilesDir } from "./pod.ts";

const k = useKeeper();

describe("a pod that is ended", () => {
  test("is stopped with its grace, removed with its files and forgotten", async () => {
    k.run("{terminationGracePeriodSeconds: 7, containers: [{name: app, image: 'x:1'}]}");
    await until(() => k.runtime.running("app"), "it runs");
    const { pod } = k.status();
    const { id } = k.runtime.running("app")!;
    await k.keeper.delete("default", "p");
    expect(k.runtime.calls).toContain(`stopContainer ${id} 7000`);
    expect(k.runtime.sandboxes.size + k.runtime.containers.size + k.records.size).toBe(0);
    expect(existsSync(podFilesDir(k.home, pod))).toBe(false);
    expect(k.keeper.list()).toEqual([]);
  });

  test("while its image is pulled does not wait for the pull", async () => {
    let aborted = false;
    k.runtime.pullImage = (_reference, _auth, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => {
          aborted = true;
          reject(signal.reason);
        }),
      );
    k.run(ONE);
    await until(() => k.runtime.sandboxes.size === 1, "the sandbox is made");
    await quiet();
    await k.keeper.delete("default", "p");
    expect(aborted).toBe(true);
    expect(k.runtime.sandboxes.size + k.records.size).toBe(0);
  });

  test("in the middle of its start is removed once that step is over", async () => {
    const gate = Promise.withResolvers<void>();
    const runSandbox = k.runtime.runSandbox.bind(k.runtime);
    k.runtime.runSandbox = async (config) => {
      await gate.promise;
      return runSandbox(config);
    };
    k.run(ONE);
    await quiet();
    const gone = k.keeper.delete("default", "p");
    await quiet();
    gate.resolve();
    await gone;
    expect(k.creations()).toEqual([]);
    expect(k.runtime.sandboxes.size + k.records.size).toBe(0);
  });

  test("again with less grace is killed at once", async () => {
    k.runtime.ignoresStop = true;
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    const slow = k.keeper.delete("default", "p", 100);
    await until(() => k.runtime.calls.some((call) => call.endsWith(" 100000")), "it is being stopped");
    await k.keeper.delete("default", "p", 0);
    await slow;
    expect(k.records.size).toBe(0);
  });

  test("is retried when a step fails", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    k.runtime.failures.set("removeSandbox", new Error("device is busy"));
    const gone = k.keeper.delete("default", "p");
    await until(() => k.status().reason === "SyncError", "the failure shows");
    expect(k.status()).toMatchObject({ phase: "Deleting", message: "device is busy" });
    k.runtime.failures.clear();
    k.clock.pass(500);
    await gone;
    expect(k.records.size).toBe(0);
  });

  test("by stop stays listed, and is gone after delete", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    await k.keeper.stop("default", "p");
    expect(k.status().phase).toBe("Stopped");
    k.clock.pass(60_000);
    await quiet();
    expect(k.status().phase).toBe("Stopped");
    expect(k.runtime.running("app")).toBeUndefined();
    expect(k.runtime.sandboxes.size).toBe(1);
    await k.keeper.delete("default", "p");
    expect(k.runtime.sandboxes.size + k.records.size).toBe(0);
  });

  test("that nobody knows is an error", async () => {
    await expect(k.keeper.delete("default", "nobody")).rejects.toThrow("no pod nobody is kept");
  });
});

describe("a daemon that comes back", () => {
  test("goes on with what runs and makes nothing twice", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    await k.close();
    const before = k.runtime.calls.length;
    k.open();
    await quiet();
    expect(k.runtime.calls.slice(before)).toEqual([]);
    k.runtime.exit(k.runtime.running("app")!.id, 1);
    await until(() => k.runtime.running("app")?.attempt === 1, "it is restarted");
  });

  test("restarts what ended while it was away", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    await k.close();
    k.runtime.exit(k.runtime.running("app")!.id, 1);
    k.open();
    await until(() => k.runtime.running("app")?.attempt === 1, "it is restarted");
  });

  test("starts what was created and not yet started", async () => {
    k.runtime.failures.set("startContainer", new Error("the daemon dies here"));
    k.run(ONE);
    await until(() => k.runtime.calls.includes("startContainer app/0"), "the start is tried");
    await k.close();
    k.runtime.failures.clear();
    k.open();
    await until(() => k.runtime.running("app")?.attempt === 0, "it runs");
    expect(k.creations()).toHaveLength(1);
  });

  test("goes on with a removal", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    k.runtime.failures.set("removeSandbox", new Error("the daemon dies here"));
    void k.keeper.delete("default", "p").catch(() => {});
    await until(() => k.runtime.calls.some((call) => call.startsWith("removeSandbox")), "removal is tried");
    await k.close();
    k.runtime.failures.clear();
    k.open();
    await until(() => k.records.size === 0, "it is gone");
    expect(k.runtime.sandboxes.size).toBe(0);
  });

  test("keeps the waits of containers that crash", async () => {
    k.run(ONE);
    for (const attempt of [0, 1]) {
      await until(() => k.runtime.running("app")?.attempt === attempt, "it runs");
      k.runtime.exit(k.runtime.running("app")!.id, 1);
      await quiet();
    }
    await k.close();
    k.open();
    await quiet();
    expect(k.runtime.running("app")).toBeUndefined();
    k.clock.pass(10_000);
    await until(() => k.runtime.running("app")?.attempt === 2, "it runs again");
  });
});
