// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { ONE, podText, quiet, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import { hostsFile } from "./pod.ts";

const k = useKeeper();

describe("a pod that is run", () => {
  test("gets its image, sandbox, hosts file and containers in the order of the manifest", async () => {
    k.run("{containers: [{name: a, image: 'x:1'}, {name: b, image: 'x:1'}]}");
    await until(() => k.runtime.running("a") && k.runtime.running("b"), "both run");
    expect(k.status()).toMatchObject({ phase: "Running", reason: "", addresses: ["10.85.0.2"] });
    expect(readFileSync(hostsFile(k.home, k.status().pod), "utf8")).toContain("10.85.0.2\tp\n");
    expect(k.runtime.calls.filter((call) => call.startsWith("runSandbox"))).toEqual(["runSandbox 0"]);
  });

  test("is refused under a name that is taken, and none of the others is started", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    expect(() =>
      k.keeper.run(
        parseManifest([{ name: "f", text: `${podText("q", ONE)}---\n${podText("p", ONE)}` }]).pods,
      ),
    ).toThrow(/default\/p exists/);
    expect(k.keeper.list()).toHaveLength(1);
  });

  test("is refused under the uid of another", () => {
    expect(() =>
      k.keeper.run(
        parseManifest([
          { name: "f", text: `${podText("q", ONE, ", uid: u")}---\n${podText("r", ONE, ", uid: u")}` },
        ]).pods,
      ),
    ).toThrow("another pod has the uid u");
    expect(k.keeper.list()).toEqual([]);
  });

  test("pulls latest each time and other tags only when they are missing", async () => {
    k.runtime.images.set("x:1", { id: "i", user: "" });
    k.runtime.images.set("y", { id: "j", user: "" });
    k.run("{containers: [{name: a, image: 'x:1'}, {name: b, image: y}]}");
    await until(() => k.runtime.running("a") && k.runtime.running("b"), "both run");
    expect(k.runtime.calls.filter((call) => call.startsWith("pull"))).toEqual(["pullImage y"]);
  });
});

describe("a container that ends", () => {
  test("is restarted 50 times in the same sandbox, with attempts that rise by one", async () => {
    k.run(ONE);
    for (let kill = 0; kill < 50; kill++) {
      await until(() => k.runtime.running("app")?.attempt === kill, `attempt ${kill} runs`);
      k.runtime.exit(k.runtime.running("app")!.id, 137);
      while (k.runtime.running("app")?.attempt !== kill + 1) {
        await quiet();
        k.clock.pass(300_000);
      }
    }
    await until(() => k.runtime.running("app")?.attempt === 50, "attempt 50 runs");
    expect(k.creations()).toEqual(Array.from({ length: 51 }, (_, i) => `createContainer app/${i}`));
    expect(k.runtime.calls.filter((call) => call.startsWith("runSandbox"))).toHaveLength(1);
    expect(k.app().restarts).toBe(50);
    await until(
      () => k.runtime.containersOf(k.status().sandboxId).length === 2,
      "older attempts are removed",
    );
  });

  test("waits 0, 10, 20, 40 … 300 seconds before it is restarted", async () => {
    k.run(ONE);
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      await until(() => k.runtime.running("app")?.attempt === attempt, `attempt ${attempt} runs`);
      k.runtime.exit(k.runtime.running("app")!.id, 1);
      const before = k.clock.nowMs();
      await quiet();
      if (!k.runtime.running("app")) expect(k.app().reason).toBe("CrashLoopBackOff");
      while (!k.runtime.running("app")) {
        k.clock.pass(10_000);
        await quiet();
      }
      waits.push((k.clock.nowMs() - before) / 1000);
    }
    expect(waits).toEqual([0, 10, 20, 40, 80, 160, 300, 300]);
  }, 60_000);

  test("waits as long when the clock is set meanwhile, or while the daemon is away", async () => {
    k.run(ONE);
    const crash = async (attempt: number) => {
      await until(() => k.runtime.running("app")?.attempt === attempt, `attempt ${attempt} runs`);
      k.runtime.exit(k.runtime.running("app")!.id, 1);
      await quiet();
    };
    await crash(0);
    k.clock.shiftMs = -30 * 86_400_000;
    expect(k.notes).toEqual([]);
    await crash(1);
    expect(k.notes).toEqual(["waiting app CrashLoopBackOff"]);
    k.clock.pass(9000);
    await quiet();
    expect(k.runtime.running("app")).toBeUndefined();
    k.clock.shiftMs = 30 * 86_400_000;
    k.clock.pass(1000);
    await crash(2);
    k.clock.pass(12_000);
    await quiet();
    // Looked at again, and told once for each end.
    expect(k.notes).toHaveLength(2);
    await k.close();
    k.clock.setBack(86_400_000);
    k.open();
    k.clock.pass(300_000);
    await until(() => k.runtime.running("app")?.attempt === 3, "it runs again");
  });

  test("waits no more once it ran for ten minutes", async () => {
    k.run(ONE);
    for (const attempt of [0, 1]) {
      await until(() => k.runtime.running("app")?.attempt === attempt, "it runs");
      k.runtime.exit(k.runtime.running("app")!.id, 1);
      await quiet();
    }
    k.clock.pass(10_000);
    await until(() => k.runtime.running("app")?.attempt === 2, "it runs again");
    k.clock.pass(600_000);
    k.runtime.exit(k.runtime.running("app")!.id, 1);
    await until(() => k.runtime.running("app")?.attempt === 3, "it is restarted at once");
  });

  test.each([
    ["Never", 1, "Failed"],
    ["Never", 0, "Succeeded"],
    ["OnFailure", 0, "Succeeded"],
  ])("stays ended under %s with exit code %d, and the pod is %s", async (policy, code, phase) => {
    k.run(`{restartPolicy: ${policy}, containers: [{name: app, image: 'x:1'}]}`);
    await until(() => k.runtime.running("app"), "it runs");
    k.runtime.exit(k.runtime.running("app")!.id, code);
    await until(() => k.status().phase === phase, `the pod is ${phase}`);
    await until(() => !k.runtime.sandboxesOf(k.status().pod)[0]!.isReady, "the sandbox is stopped");
    expect(k.app()).toMatchObject({ state: "terminated", exitCode: code });
    expect(k.status().message).toBe("");
    k.clock.pass(60_000);
    await quiet();
    expect(k.creations()).toHaveLength(1);
    expect(k.runtime.sandboxes.size).toBe(1);
  });

  test("is restarted under OnFailure when it failed", async () => {
    k.run("{restartPolicy: OnFailure, containers: [{name: app, image: 'x:1'}]}");
    await until(() => k.runtime.running("app"), "it runs");
    k.runtime.exit(k.runtime.running("app")!.id, 3);
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs again");
  });
});

describe("a sandbox that dies", () => {
  test("is replaced by a new one at once, and the old one is removed", async () => {
    k.run(ONE);
    await until(() => k.runtime.running("app"), "it runs");
    const before = k.status().sandboxId;
    k.runtime.endSandbox(before, "pause died of SIGKILL");
    await until(() => k.runtime.running("app")?.attempt === 1, "it runs in a new sandbox");
    expect([...k.runtime.sandboxes.values()]).toMatchObject([{ attempt: 1, isReady: true }]);
    expect(k.runtime.sandboxes.has(before)).toBe(false);
    expect(k.status().message).toBe("the sandbox was replaced: pause died of SIGKILL");
  });

  test("50 times in a row without a wait", async () => {
    k.run(ONE);
    for (let death = 0; death < 50; death++) {
      await until(() => k.runtime.running("app")?.attempt === death, `attempt ${death} runs`);
      k.runtime.endSandbox(k.runtime.running("app")!.sandboxId, "pause died of SIGKILL");
    }
    await until(() => k.runtime.running("app")?.attempt === 50, "it runs");
    expect(k.runtime.sandboxes.size).toBe(1);
  });

  test("is not replaced when the pod is never to restart", async () => {
    k.run("{restartPolicy: Never, containers: [{name: app, image: 'x:1'}]}");
    await until(() => k.runtime.running("app"), "it runs");
    k.runtime.endSandbox(k.status().sandboxId, "pause died of SIGKILL");
    await until(() => k.status().phase === "Failed", "the pod failed");
    expect(k.status().message).toBe("the sandbox ended: pause died of SIGKILL");
    expect(k.runtime.sandboxes.size).toBe(1);
  });

  test("does not bring back a container that was done", async () => {
    k.run("{restartPolicy: OnFailure, containers: [{name: app, image: 'x:1'}, {name: init, image: 'x:1'}]}");
    await until(() => k.runtime.running("app") && k.runtime.running("init"), "both run");
    k.runtime.exit(k.runtime.running("init")!.id, 0);
    await quiet();
    k.runtime.endSandbox(k.status().sandboxId, "pause died of SIGKILL");
    await until(() => k.runtime.running("app")?.attempt === 1, "app runs again");
    await quiet();
    expect(k.runtime.running("init")).toBeUndefined();
  });

  test("a container that ends while another is made is not started again against its policy", async () => {
    k.run("{restartPolicy: OnFailure, containers: [{name: app, image: 'x:1'}, {name: init, image: 'x:1'}]}");
    await until(() => k.runtime.running("init"), "init runs");
    k.runtime.exit(k.runtime.running("init")!.id, 0);
    await until(() => k.runtime.running("app"), "app runs");
    await quiet();
    expect(k.runtime.calls.filter((call) => call.startsWith("startContainer init"))).toEqual([
      "startContainer init/0",
    ]);
  });

  test("is tried again with growing waits when it cannot be made", async () => {
    k.runtime.failures.set("runSandbox", new Error("no address is left in 10.85.0.0/16"));
    k.run(ONE);
    await until(() => k.status().reason !== "", "the failure shows");
    expect(k.status()).toMatchObject({ phase: "Pending", reason: "CreatePodSandboxError" });
    expect(k.status().message).toBe("no address is left in 10.85.0.0/16");
    k.clock.pass(9999);
    await quiet();
    expect(k.runtime.calls).toEqual(["runSandbox 0"]);
    k.runtime.failures.clear();
    k.clock.pass(1);
    await until(() => k.runtime.running("app"), "it runs");
    expect(k.status().reason).toBe("");
  });
});

describe("what goes wrong", () => {
  test("a failed pull shows as ErrImagePull and is retried with back-off", async () => {
    k.runtime.failures.set("pullImage", new Error("nginx:1: no such image on docker.io"));
    k.run(ONE);
    await until(() => k.app().reason === "ErrImagePull", "the failure shows");
    expect(k.notes).toEqual(["trouble app ErrImagePull"]);
    expect(k.app()).toMatchObject({ state: "waiting", message: "nginx:1: no such image on docker.io" });
    k.clock.pass(10_000);
    await until(() => k.runtime.calls.filter((call) => call.startsWith("pull")).length === 2, "a second try");
    await quiet();
    k.runtime.failures.clear();
    k.clock.pass(19_999);
    await quiet();
    expect(k.runtime.running("app")).toBeUndefined();
    k.clock.pass(1);
    await until(() => k.runtime.running("app"), "it runs");
    expect(k.app()).toMatchObject({ state: "running", reason: "" });
  });

  test("an image that may not be pulled is named", async () => {
    k.run("{containers: [{name: app, image: x, imagePullPolicy: Never}]}");
    await until(() => k.app().reason === "ErrImageNeverPull", "it shows");
  });

  test("an image of root is refused under runAsNonRoot", async () => {
    k.run("{securityContext: {runAsNonRoot: true}, containers: [{name: app, image: 'x:1'}]}");
    await until(() => k.app().reason === "CreateContainerConfigError", "it shows");
    expect(k.app().message).toContain("runs as root");
    expect(k.creations()).toEqual([]);
  });

  test("a hostPath of the wrong type is told before anything is made", async () => {
    k.run(
      `{volumes: [{name: v, hostPath: {path: ${k.home.stateDir}/none, type: Directory}}], containers: [{name: app, image: 'x:1'}]}`,
    );
    await until(() => k.status().reason === "FailedMount", "it shows");
    expect(k.status().message).toContain("volume v: hostPath");
    expect(k.runtime.calls).toEqual([]);
  });

  test("a failing start is retried with back-off, as another attempt", async () => {
    k.runtime.failures.set("createContainer", new Error("no space left"));
    k.run(ONE);
    await until(() => k.app().reason === "CreateContainerError", "it shows");
    k.runtime.failures.clear();
    k.clock.pass(10_000);
    await until(() => k.runtime.running("app")?.attempt === 0, "it runs");
  });
});
