// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, demoPod, keptPod, runDetached, runningPod } from "./harness/manifests.ts";
import { containerPid, pausePid, sandboxStatus, shellIn } from "./harness/pods.ts";
import { namespaceOf } from "./harness/proc.ts";

const kills = 50;
const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 10\nrestart_backoff_max_ms = 10\n" });

test(`app1 comes back ${kills} times while the pod's address, network and pause stay`, async () => {
  const { daemon } = fixture;
  await runDetached(daemon, demoPod);
  const first = await runningPod(daemon, "demo-pod");
  const pause = await pausePid(daemon, first.sandboxId);
  const app2 = containerOf(first, "app2").containerId;
  const before = { address: first.addresses[0], netns: namespaceOf(pause, "net"), pause };

  let previous = containerOf(first, "app1").containerId;
  for (let round = 1; round <= kills; round += 1) {
    process.kill(await containerPid(daemon, previous), "SIGKILL");
    previous = await eventually(
      `app1 runs again after kill ${round}`,
      async () => {
        const { state, containerId } = containerOf(await keptPod(daemon, "demo-pod"), "app1");
        return state === "running" && containerId !== previous ? containerId : undefined;
      },
      10_000,
    );
  }

  const last = await runningPod(daemon, "demo-pod");
  expect(last.sandboxId).toBe(first.sandboxId);
  expect(containerOf(last, "app1").restarts).toBe(kills);
  expect(containerOf(last, "app2").restarts).toBe(0);
  expect(containerOf(last, "app1").exitCode).toBe(137);
  const app1Pid = await containerPid(daemon, previous);
  expect({
    address: (await sandboxStatus(daemon, last.sandboxId)).network?.ip,
    netns: namespaceOf(app1Pid, "net"),
    pause: await pausePid(daemon, last.sandboxId),
  }).toEqual(before);
  const fetchPage = () => shellIn(daemon, app2, "wget -qO- http://localhost:80");
  expect(await eventually("nginx answers", fetchPage)).toContain("Welcome to nginx!");
  const { containers } = await daemon.api.listContainers({ filter: { podSandboxId: last.sandboxId } });
  // Dead containers are kept for their logs, but not without bound.
  expect(containers.length).toBeLessThanOrEqual(5);
}, 180_000);
