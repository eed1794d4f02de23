// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { demoPod, runningPod } from "./harness/manifests.ts";

const directory = mkdtempSync(join(tmpdir(), "podrt-manifests-"));
const fixture = useDaemon({ config: `[pods]\nmanifest_dir = "${directory}"\n` });
afterAll(() => rmSync(directory, { recursive: true }));

test("the pod of a file in the manifest directory runs while the file is there, also over a restart", async () => {
  const { daemon } = fixture;
  copyFileSync(demoPod, join(directory, "demo.yaml"));
  const before = await runningPod(daemon, "demo-pod", 60_000);
  await daemon.kill();
  await daemon.start();
  expect((await runningPod(daemon, "demo-pod", 60_000)).name?.uid).toBe(before.name!.uid);
  rmSync(join(directory, "demo.yaml"));
  await eventually("the pod is gone", async () => (await daemon.pods.listPods({})).pods.length === 0, 60_000);
}, 180_000);
