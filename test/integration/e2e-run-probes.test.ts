// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { join } from "node:path";
import { projectDir } from "../fixtures/images/packages.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, keptPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";

const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 20\nrestart_backoff_max_ms = 50\n" });
const example = (name: string) => join(projectDir, "examples", `${name}.yaml`);

test("init containers run in turn beside their sidecar, and a daemon that restarts knows how far they were", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, example("init-containers"));
  expect(await pageOf(await runningPod(daemon, "init-containers"))).toBe("one,\ntwo\n");
  const before = await keptPod(daemon, "init-containers");
  expect(before.initContainers.map(({ name, ready, sidecar }) => [name, ready, sidecar])).toEqual([
    ["first", true, false],
    ["watcher", true, true],
    ["second", true, false],
  ]);
  await daemon.kill();
  await daemon.start();
  expect((await daemon.podrt("pods")).stdout).toMatch(/init-containers +default +2\/2 +Running/);
  const after = await keptPod(daemon, "init-containers");
  const ids = (pod: typeof before) => [...pod.initContainers, ...pod.containers].map((c) => c.containerId);
  expect(ids(after)).toEqual(ids(before));
  expect((await daemon.podrt("rm", "-f", "init-containers")).code).toBe(0);
});

test("probes make a container ready over the pod's network, and restart one that is not well", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, example("probes"));
  await eventually("both are ready", async () => {
    const { stdout } = await daemon.podrt("pods");
    return /probes +default +2\/2 +Running/.test(stdout);
  });
  expect((await daemon.podrt("exec", "probes/worker", "--", "rm", "/well")).code).toBe(0);
  await eventually("the worker was restarted and is ready again", async () => {
    const worker = containerOf(await keptPod(daemon, "probes"), "worker");
    return worker.restarts === 1 && worker.ready;
  });
});

test("a postStart hook runs, and last words are told", async () => {
  const { code, stderr } = await fixture.daemon.podrt("run", example("hooks"));
  expect(stderr).toContain("container job ended with exit code 3 (the disk is full)");
  expect(code).toBe(1);
});

test("a preStop hook is executed before the stop signal, and the deadline of a pod ends it", async () => {
  const { daemon } = fixture;
  const manifest = `apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  activeDeadlineSeconds: 2
  containers:
  - name: app
    image: busybox
    command: [sh, -c, "trap 'cat /said > /dev/termination-log; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo goodbye > /said"]}}}
`;
  const { code, stderr } = await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "-");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const pod = await eventually("the pod has failed", async () => {
    const now = await keptPod(daemon, "late");
    return now.phase === "Failed" ? now : undefined;
  });
  expect(pod.reason).toBe("DeadlineExceeded");
  expect(containerOf(pod, "app").message).toBe("goodbye\n");
});
