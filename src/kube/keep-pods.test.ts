// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Table } from "../state/table.ts";
import { FakeClock, FakeLifecycle } from "./fake-lifecycle.ts";
import { type Keeper, keepPods } from "./keep-pods.ts";
import { hostsFile, type PodHome, podFilesDir } from "./pod.ts";
import type { PodRecord } from "./pod-record.ts";
import { parseManifest } from "./pod-spec.ts";

let stateDir: string;
let clock: FakeClock;
let runtime: FakeLifecycle;
let records: Map<string, PodRecord>;
let keeper: Keeper;
let home: PodHome;

function tableOf(map: Map<string, PodRecord>): Table<PodRecord> {
  return {
    get: (key) => map.get(key),
    // Through JSON, as the database does.
    put: (key, record) => void map.set(key, JSON.parse(JSON.stringify(record))),
    delete: (key) => void map.delete(key),
    keys: () => map.keys(),
    list: () => [...map.values()],
  };
}

function startKeeper(): Keeper {
  const backOff = { firstMs: 10_000, maxMs: 300_000 };
  return keepPods({ lifecycle: runtime, table: tableOf(records), clock, home, backOff, log: () => {} });
}

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "podrt-keeper-"));
  home = {
    stateDir,
    machineMemoryBytes: 2 ** 33,
    cpuCount: 2,
    hostResolvConf: () => "nameserver 192.0.2.1\n",
    hostHosts: () => "127.0.0.1 localhost\n",
  };
  clock = new FakeClock();
  runtime = new FakeLifecycle(clock);
  records = new Map();
  keeper = startKeeper();
});

afterEach(async () => {
  await keeper.close();
  rmSync(stateDir, { recursive: true });
});

/** Waits, in real time and without moving the fake one, until `condition` holds. */
async function until(condition: () => unknown, what: string): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, turn < 100 ? 0 : 1));
  }
  throw new Error(`waited in vain until ${what}`);
}

/** Gives passes in flight the time to end; for asserting that nothing happens. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}

function run(spec: string): void {
  keeper.run(parseManifest(`apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: ${spec}\n`, "pod.yaml"));
}

const ONE = "{containers: [{name: app, image: 'nginx:1'}]}";
const status = () => keeper.list()[0]!;
const app = () => status().containers[0]!;
const creations = () => runtime.calls.filter((call) => call.startsWith("createContainer"));

describe("a pod that is run", () => {
  test("gets its image, sandbox, hosts file and containers in the order of the manifest", async () => {
    run("{containers: [{name: a, image: 'x:1'}, {name: b, image: 'x:1'}]}");
    await until(() => runtime.running("a") && runtime.running("b"), "both run");
    expect(status()).toMatchObject({ phase: "Running", reason: "", addresses: ["10.85.0.2"] });
    expect(readFileSync(hostsFile(home, status().pod), "utf8")).toContain("10.85.0.2\tp\n");
    expect(runtime.calls.filter((call) => call.startsWith("runSandbox"))).toEqual(["runSandbox 0"]);
  });

  test("is refused under a name that is taken, and none of the others is started", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    const text = (name: string) => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: ${ONE}\n`;
    expect(() => keeper.run(parseManifest(`${text("q")}---\n${text("p")}`, "f"))).toThrow(
      /default\/p exists/,
    );
    expect(keeper.list()).toHaveLength(1);
  });

  test("is refused under the uid of another", () => {
    const text = (name: string) =>
      `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, uid: u}\nspec: ${ONE}\n`;
    expect(() => keeper.run(parseManifest(`${text("q")}---\n${text("r")}`, "f"))).toThrow(
      "another pod has the uid u",
    );
    expect(keeper.list()).toEqual([]);
  });

  test("pulls latest each time and other tags only when they are missing", async () => {
    runtime.images.set("x:1", { id: "i", user: "" });
    runtime.images.set("y", { id: "j", user: "" });
    run("{containers: [{name: a, image: 'x:1'}, {name: b, image: y}]}");
    await until(() => runtime.running("a") && runtime.running("b"), "both run");
    expect(runtime.calls.filter((call) => call.startsWith("pull"))).toEqual(["pullImage y"]);
  });
});

describe("a container that ends", () => {
  test("is restarted 50 times in the same sandbox, with attempts that rise by one", async () => {
    run(ONE);
    for (let kill = 0; kill < 50; kill++) {
      await until(() => runtime.running("app")?.attempt === kill, `attempt ${kill} runs`);
      runtime.exit(runtime.running("app")!.id, 137);
      await until(() => app().state !== "running" || runtime.running("app"), "the exit is seen");
      await quietUntilTimer();
      clock.pass(300_000);
    }
    await until(() => runtime.running("app")?.attempt === 50, "attempt 50 runs");
    expect(creations()).toEqual(Array.from({ length: 51 }, (_, i) => `createContainer app/${i}`));
    expect(runtime.calls.filter((call) => call.startsWith("runSandbox"))).toHaveLength(1);
    expect(app().restarts).toBe(50);
    await until(() => runtime.containersOf(status().sandboxId).length === 2, "older attempts are removed");
  });

  async function quietUntilTimer(): Promise<void> {
    await until(
      () => runtime.running("app") || (records.get("default/p")?.containers["app"]?.notBeforeMs ?? 0) > 0,
      "a restart is planned",
    );
    await quiet();
  }

  test("waits 0, 10, 20, 40 … 300 seconds before it is restarted", async () => {
    run(ONE);
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      await until(() => runtime.running("app")?.attempt === attempt, `attempt ${attempt} runs`);
      runtime.exit(runtime.running("app")!.id, 1);
      const before = clock.nowMs();
      await quiet();
      if (!runtime.running("app")) expect(app().reason).toBe("CrashLoopBackOff");
      while (!runtime.running("app")) {
        clock.pass(10_000);
        await quiet();
      }
      waits.push((clock.nowMs() - before) / 1000);
    }
    expect(waits).toEqual([0, 10, 20, 40, 80, 160, 300, 300]);
  }, 60_000);

  test("waits no more once it ran for ten minutes", async () => {
    run(ONE);
    for (const attempt of [0, 1]) {
      await until(() => runtime.running("app")?.attempt === attempt, "it runs");
      runtime.exit(runtime.running("app")!.id, 1);
      await quiet();
    }
    clock.pass(10_000);
    await until(() => runtime.running("app")?.attempt === 2, "it runs again");
    clock.pass(600_000);
    runtime.exit(runtime.running("app")!.id, 1);
    await until(() => runtime.running("app")?.attempt === 3, "it is restarted at once");
  });

  test.each([
    ["Never", 1, "Failed"],
    ["Never", 0, "Succeeded"],
    ["OnFailure", 0, "Succeeded"],
  ])("stays ended under %s with exit code %d, and the pod is %s", async (policy, code, phase) => {
    run(`{restartPolicy: ${policy}, containers: [{name: app, image: 'x:1'}]}`);
    await until(() => runtime.running("app"), "it runs");
    runtime.exit(runtime.running("app")!.id, code);
    await until(() => status().phase === phase, `the pod is ${phase}`);
    await until(() => !runtime.sandboxesOf(status().pod)[0]!.isReady, "the sandbox is stopped");
    expect(app()).toMatchObject({ state: "terminated", exitCode: code });
    expect(status().message).toBe("");
    clock.pass(60_000);
    await quiet();
    expect(creations()).toHaveLength(1);
    expect(runtime.sandboxes.size).toBe(1);
  });

  test("is restarted under OnFailure when it failed", async () => {
    run("{restartPolicy: OnFailure, containers: [{name: app, image: 'x:1'}]}");
    await until(() => runtime.running("app"), "it runs");
    runtime.exit(runtime.running("app")!.id, 3);
    await until(() => runtime.running("app")?.attempt === 1, "it runs again");
  });
});

describe("a sandbox that dies", () => {
  test("is replaced by a new one at once, and the old one is removed", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    const before = status().sandboxId;
    runtime.endSandbox(before, "pause died of SIGKILL");
    await until(() => runtime.running("app")?.attempt === 1, "it runs in a new sandbox");
    expect([...runtime.sandboxes.values()]).toMatchObject([{ attempt: 1, isReady: true }]);
    expect(runtime.sandboxes.has(before)).toBe(false);
    expect(status().message).toBe("the sandbox was replaced: pause died of SIGKILL");
  });

  test("50 times in a row without a wait", async () => {
    run(ONE);
    for (let death = 0; death < 50; death++) {
      await until(() => runtime.running("app")?.attempt === death, `attempt ${death} runs`);
      runtime.endSandbox(runtime.running("app")!.sandboxId, "pause died of SIGKILL");
    }
    await until(() => runtime.running("app")?.attempt === 50, "it runs");
    expect(runtime.sandboxes.size).toBe(1);
  });

  test("is not replaced when the pod is never to restart", async () => {
    run("{restartPolicy: Never, containers: [{name: app, image: 'x:1'}]}");
    await until(() => runtime.running("app"), "it runs");
    runtime.endSandbox(status().sandboxId, "pause died of SIGKILL");
    await until(() => status().phase === "Failed", "the pod failed");
    expect(status().message).toBe("the sandbox ended: pause died of SIGKILL");
    expect(runtime.sandboxes.size).toBe(1);
  });

  test("does not bring back a container that was done", async () => {
    run("{restartPolicy: OnFailure, containers: [{name: app, image: 'x:1'}, {name: init, image: 'x:1'}]}");
    await until(() => runtime.running("app") && runtime.running("init"), "both run");
    runtime.exit(runtime.running("init")!.id, 0);
    await quiet();
    runtime.endSandbox(status().sandboxId, "pause died of SIGKILL");
    await until(() => runtime.running("app")?.attempt === 1, "app runs again");
    await quiet();
    expect(runtime.running("init")).toBeUndefined();
  });

  test("is tried again with growing waits when it cannot be made", async () => {
    runtime.failures.set("runSandbox", new Error("no address is left in 10.85.0.0/16"));
    run(ONE);
    await until(() => status().reason !== "", "the failure shows");
    expect(status()).toMatchObject({ phase: "Pending", reason: "CreatePodSandboxError" });
    expect(status().message).toBe("no address is left in 10.85.0.0/16");
    clock.pass(9999);
    await quiet();
    expect(runtime.calls).toEqual(["runSandbox 0"]);
    runtime.failures.clear();
    clock.pass(1);
    await until(() => runtime.running("app"), "it runs");
    expect(status().reason).toBe("");
  });
});

describe("what goes wrong", () => {
  test("a failed pull shows as ErrImagePull and is retried with back-off", async () => {
    runtime.failures.set("pullImage", new Error("nginx:1: no such image on docker.io"));
    run(ONE);
    await until(() => app().reason === "ErrImagePull", "the failure shows");
    expect(app()).toMatchObject({ state: "waiting", message: "nginx:1: no such image on docker.io" });
    clock.pass(10_000);
    await until(() => runtime.calls.filter((call) => call.startsWith("pull")).length === 2, "a second try");
    await quiet();
    runtime.failures.clear();
    clock.pass(19_999);
    await quiet();
    expect(runtime.running("app")).toBeUndefined();
    clock.pass(1);
    await until(() => runtime.running("app"), "it runs");
    expect(app()).toMatchObject({ state: "running", reason: "" });
  });

  test("an image that may not be pulled is named", async () => {
    run("{containers: [{name: app, image: x, imagePullPolicy: Never}]}");
    await until(() => app().reason === "ErrImageNeverPull", "it shows");
  });

  test("an image of root is refused under runAsNonRoot", async () => {
    run("{securityContext: {runAsNonRoot: true}, containers: [{name: app, image: 'x:1'}]}");
    await until(() => app().reason === "CreateContainerConfigError", "it shows");
    expect(app().message).toContain("runs as root");
    expect(creations()).toEqual([]);
  });

  test("a hostPath of the wrong type is told before anything is made", async () => {
    run(
      `{volumes: [{name: v, hostPath: {path: ${stateDir}/none, type: Directory}}], containers: [{name: app, image: 'x:1'}]}`,
    );
    await until(() => status().reason === "FailedMount", "it shows");
    expect(status().message).toContain("volume v: hostPath");
    expect(runtime.calls).toEqual([]);
  });

  test("a failing start is retried with back-off, as another attempt", async () => {
    runtime.failures.set("createContainer", new Error("no space left"));
    run(ONE);
    await until(() => app().reason === "CreateContainerError", "it shows");
    runtime.failures.clear();
    clock.pass(10_000);
    await until(() => runtime.running("app")?.attempt === 0, "it runs");
  });
});

describe("a pod that is ended", () => {
  test("is stopped with its grace, removed with its files and forgotten", async () => {
    run("{terminationGracePeriodSeconds: 7, containers: [{name: app, image: 'x:1'}]}");
    await until(() => runtime.running("app"), "it runs");
    const { pod } = status();
    const { id } = runtime.running("app")!;
    await keeper.delete("default", "p");
    expect(runtime.calls).toContain(`stopContainer ${id} 7000`);
    expect(runtime.sandboxes.size + runtime.containers.size + records.size).toBe(0);
    expect(existsSync(podFilesDir(home, pod))).toBe(false);
    expect(keeper.list()).toEqual([]);
  });

  test("while its image is pulled does not wait for the pull", async () => {
    let aborted = false;
    runtime.pullImage = (_reference, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => {
          aborted = true;
          reject(signal.reason);
        }),
      );
    run(ONE);
    await until(() => runtime.sandboxes.size === 1, "the sandbox is made");
    await quiet();
    await keeper.delete("default", "p");
    expect(aborted).toBe(true);
    expect(runtime.sandboxes.size + records.size).toBe(0);
  });

  test("in the middle of its start is removed once that step is over", async () => {
    const gate = Promise.withResolvers<void>();
    const runSandbox = runtime.runSandbox.bind(runtime);
    runtime.runSandbox = async (config) => {
      await gate.promise;
      return runSandbox(config);
    };
    run(ONE);
    await quiet();
    const gone = keeper.delete("default", "p");
    await quiet();
    gate.resolve();
    await gone;
    expect(creations()).toEqual([]);
    expect(runtime.sandboxes.size + records.size).toBe(0);
  });

  test("again with less grace is killed at once", async () => {
    runtime.ignoresStop = true;
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    const slow = keeper.delete("default", "p", 100);
    await until(() => runtime.calls.some((call) => call.endsWith(" 100000")), "it is being stopped");
    await keeper.delete("default", "p", 0);
    await slow;
    expect(records.size).toBe(0);
  });

  test("is retried when a step fails", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    runtime.failures.set("removeSandbox", new Error("device is busy"));
    const gone = keeper.delete("default", "p");
    await until(() => status().reason === "SyncError", "the failure shows");
    expect(status()).toMatchObject({ phase: "Deleting", message: "device is busy" });
    runtime.failures.clear();
    clock.pass(500);
    await gone;
    expect(records.size).toBe(0);
  });

  test("by stop stays listed, and is gone after delete", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    await keeper.stop("default", "p");
    expect(status().phase).toBe("Stopped");
    clock.pass(60_000);
    await quiet();
    expect(status().phase).toBe("Stopped");
    expect(runtime.running("app")).toBeUndefined();
    expect(runtime.sandboxes.size).toBe(1);
    await keeper.delete("default", "p");
    expect(runtime.sandboxes.size + records.size).toBe(0);
  });

  test("that nobody knows is an error", async () => {
    await expect(keeper.delete("default", "nobody")).rejects.toThrow("no pod nobody is kept");
  });
});

describe("a daemon that comes back", () => {
  test("goes on with what runs and makes nothing twice", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    await keeper.close();
    const before = runtime.calls.length;
    keeper = startKeeper();
    await quiet();
    expect(runtime.calls.slice(before)).toEqual([]);
    runtime.exit(runtime.running("app")!.id, 1);
    await until(() => runtime.running("app")?.attempt === 1, "it is restarted");
  });

  test("restarts what ended while it was away", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    await keeper.close();
    runtime.exit(runtime.running("app")!.id, 1);
    keeper = startKeeper();
    await until(() => runtime.running("app")?.attempt === 1, "it is restarted");
  });

  test("starts what was created and not yet started", async () => {
    runtime.failures.set("startContainer", new Error("the daemon dies here"));
    run(ONE);
    await until(() => runtime.calls.includes("startContainer app/0"), "the start is tried");
    await keeper.close();
    runtime.failures.clear();
    keeper = startKeeper();
    await until(() => runtime.running("app")?.attempt === 0, "it runs");
    expect(creations()).toHaveLength(1);
  });

  test("goes on with a removal", async () => {
    run(ONE);
    await until(() => runtime.running("app"), "it runs");
    runtime.failures.set("removeSandbox", new Error("the daemon dies here"));
    void keeper.delete("default", "p").catch(() => {});
    await until(() => runtime.calls.some((call) => call.startsWith("removeSandbox")), "removal is tried");
    await keeper.close();
    runtime.failures.clear();
    keeper = startKeeper();
    await until(() => records.size === 0, "it is gone");
    expect(runtime.sandboxes.size).toBe(0);
  });

  test("keeps the waits of containers that crash", async () => {
    run(ONE);
    for (const attempt of [0, 1]) {
      await until(() => runtime.running("app")?.attempt === attempt, "it runs");
      runtime.exit(runtime.running("app")!.id, 1);
      await quiet();
    }
    await keeper.close();
    keeper = startKeeper();
    await quiet();
    expect(runtime.running("app")).toBeUndefined();
    clock.pass(10_000);
    await until(() => runtime.running("app")?.attempt === 2, "it runs again");
  });
});
