// SPDX-License-Identifier: Apache-2.0
import { eventually } from "../../test/integration/harness/eventually.ts";
import { runningPod } from "../../test/integration/harness/manifests.ts";
import { pausePid } from "../../test/integration/harness/pods.ts";
import type { Demo } from "./instance.ts";
import type { Page } from "./page.ts";
import { showCommand } from "./pods.ts";

/** The pause dies: its pod fails, and comes back with another one. */
export async function showKilledPause(page: Page, demo: Demo): Promise<void> {
  const { daemon } = demo;
  page.title("The pause of demo-pod is killed");
  const old = await runningPod(daemon, "demo-pod");
  const oldPause = await pausePid(daemon, old.sandboxId);
  page.command(`kill -KILL ${oldPause}`);
  process.kill(oldPause, "SIGKILL");
  const startMs = performance.now();
  const fresh = await eventually(
    "demo-pod runs again",
    async () => {
      const pod = await runningPod(daemon, "demo-pod", 1);
      return pod.sandboxId === old.sandboxId ? undefined : pod;
    },
    30_000,
  );
  const tookMs = performance.now() - startMs;
  const pause = await pausePid(daemon, fresh.sandboxId);
  page.output(fresh.message);
  await showCommand(page, demo, "pods");
  page.result(
    pause !== oldPause,
    `back after ${tookMs.toFixed(0)} ms, with pause ${pause} in place of ${oldPause}`,
  );
}
