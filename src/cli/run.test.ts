// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { id, populate, statuses } from "./fake-pods.ts";

describe("run", () => {
  test("prints what is wrong with a manifest, a line each", async () => {
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => {
          throw new ConnectError("pod.yaml:1:2: one\npod.yaml:3:4: two", Code.InvalidArgument);
        },
      },
    });
    const stdin = (async function* () {
      yield new TextEncoder().encode("kind: Pod");
    })();
    expect(await runCommand(daemon.socketPath, ["run", "-"], { stdin })).toEqual({
      exitCode: 1,
      out: "",
      err: "podrt: pod.yaml:1:2: one\npodrt: pod.yaml:3:4: two\n",
    });
  });

  test("says when the file cannot be read", async () => {
    const { exitCode, err } = await runCommand("/none", ["run", "/nonexistent/pod.yaml"]);
    expect(err).toStartWith("podrt: cannot read the manifest /nonexistent/pod.yaml: there is no such file");
    expect(exitCode).toBe(1);
  });

  test("shows the logs of all containers until Ctrl-C, then removes the pods", async () => {
    const logs = new Map<string, string>();
    const deleted: string[] = [];
    await using daemon = await startFakeDaemon({
      runtime: {
        ...statuses,
        containerStatus: ({ containerId }) => ({
          status: { id: containerId, logPath: logs.get(containerId)! },
        }),
      },
      pods: {
        runPod: () => ({ pods: [{ namespace: "default", name: "demo", uid: "u1" }] }),
        deletePod: ({ name }) => {
          deleted.push(name);
          return {};
        },
      },
    });
    populate(daemon);
    daemon.containers = [
      daemon.containers[0]!,
      { ...daemon.containers[0]!, id: id("9"), metadata: { name: "app2", attempt: 0 } },
    ];
    logs.set(id("b"), join(daemon.directory, "app1.log"));
    logs.set(id("9"), join(daemon.directory, "app2.log"));
    writeFileSync(logs.get(id("b"))!, "2026-01-01T00:00:00.000000001Z stdout F hello\n");
    writeFileSync(logs.get(id("9"))!, "2026-01-01T00:00:00.000000001Z stderr P par");
    const manifest = join(daemon.directory, "pod.yaml");
    writeFileSync(manifest, "kind: Pod\n");
    const interrupt = new AbortController();
    const outcome = await runCommand(daemon.socketPath, ["run", manifest], {
      interrupted: interrupt.signal,
      onOut(text) {
        if (text.includes("hello")) {
          appendFileSync(logs.get(id("9"))!, "t\n2026-01-01T00:00:00.000000002Z stderr F ial\n");
        } else if (text.includes("ial")) interrupt.abort();
      },
    });
    expect(outcome.out).toBe("app1 | hello\n");
    expect(outcome.err).toBe(
      "podrt: demo/app2: ErrImagePull: no such image; check the image's name and tag for a typo\napp2 | partial\n",
    );
    expect(outcome.exitCode).toBe(0);
    expect(deleted).toEqual(["demo"]);
  });

  test("a second Ctrl-C kills more pods than may be asked for at a time, all of which stop slowly", async () => {
    const names = Array.from({ length: 300 }, (_, index) => `demo-${index}`);
    const [interrupt, insist] = [new AbortController(), new AbortController()];
    const killed = new Set<string>();
    let stopping = 0;
    let looksMeanwhile = 0;
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => ({ pods: names.map((name) => ({ namespace: "default", name, uid: name })) }),
        listPods: () => {
          if (stopping > 0 && ++looksMeanwhile === 2) insist.abort();
          return { pods: [] };
        },
        async deletePod({ name, graceSeconds }, { signal }) {
          if (graceSeconds === 0) killed.add(name);
          else {
            stopping++;
            await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
          }
          return {};
        },
      },
    });
    const manifest = join(daemon.directory, "pod.yaml");
    writeFileSync(manifest, "kind: Pod\n");
    interrupt.abort();
    const { exitCode, err } = await runCommand(daemon.socketPath, ["run", manifest], {
      interrupted: interrupt.signal,
      insisted: insist.signal,
    });
    expect(err).toBe("");
    expect(exitCode).toBe(0);
    expect(looksMeanwhile).toBeGreaterThanOrEqual(2);
    expect([...killed].toSorted()).toEqual(names.toSorted());
  });

  test("ends by itself with 1 when a pod failed", async () => {
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => ({ pods: [{ namespace: "default", name: "demo", uid: "u1" }] }),
        deletePod: () => ({}),
      },
    });
    daemon.pods = [
      {
        name: { namespace: "default", name: "demo", uid: "u1" },
        phase: "Failed",
        containers: [{ name: "job", state: "terminated", reason: "Error", exitCode: 3 }],
      },
    ];
    const manifest = join(daemon.directory, "pod.yaml");
    writeFileSync(manifest, "kind: Pod\n");
    const { exitCode, err } = await runCommand(daemon.socketPath, ["run", manifest]);
    expect(err).toBe("podrt: pod demo failed: container job ended with exit code 3\n");
    expect(exitCode).toBe(1);
  });

  test("ends by itself with 0 when a pod failed of a Job that succeeded", async () => {
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => ({ pods: [{ namespace: "default", name: "demo", uid: "u1" }] }),
        deletePod: () => ({}),
      },
    });
    const name = { namespace: "default", name: "demo", uid: "u1" };
    daemon.pods = [{ name, phase: "Failed", jobSucceeded: true }];
    const manifest = join(daemon.directory, "job.yaml");
    writeFileSync(manifest, "kind: Job\n");
    expect(await runCommand(daemon.socketPath, ["run", manifest])).toMatchObject({ exitCode: 0, err: "" });
  });
});
