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
