// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { MIGRATIONS } from "../../src/state/migrations.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import pinned from "../fixtures/upgrade/first-version.json";
import { patience } from "../support/patience.ts";
import { binary, type Daemon, startDaemon } from "./harness/daemon.ts";
import { earlierBuild, hasEarlierSources } from "./harness/earlier-build.ts";
import { eventually } from "./harness/eventually.ts";
import { demoPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";
import {
  containerPid,
  containerStatus,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";

setDefaultTimeout(120_000 * patience);

const counts = "trap 'exit 7' TERM; n=0; while :; do echo line $n; n=$((n+1)); sleep 0.05; done";

/** A pod with an address, and a container that writes lines. */
async function countingPod(daemon: Daemon, name: string) {
  const sandboxId = await runSandbox(daemon, name, { logDirectory: `${daemon.root}/logs` });
  const command = ["sh", "-c", counts];
  const containerId = await runContainer(daemon, sandboxId, { name: "app", command, logPath: `${name}.log` });
  const lines = () => {
    const records = readFileSync(`${daemon.root}/logs/${name}.log`, "utf8").split("\n").slice(0, -1);
    return records.map((record) => record.split(" ").slice(3).join(" "));
  };
  const pids = {
    pause: await pausePid(daemon, sandboxId),
    container: await containerPid(daemon, containerId),
  };
  return { sandboxId, containerId, lines, pids };
}

/** The daemon that has just been started works with a pod of another build's to its end. */
async function expectTakenOver(daemon: Daemon, pod: Awaited<ReturnType<typeof countingPod>>): Promise<void> {
  const { sandboxId, containerId, lines, pids } = pod;
  const known = lines().length;
  expect(await pausePid(daemon, sandboxId)).toBe(pids.pause);
  expect(await containerPid(daemon, containerId)).toBe(pids.container);
  await eventually("the log goes on", () => lines().length > known);
  expect(await shellIn(daemon, containerId, "echo said")).toBe("said");
  const late = await runContainer(daemon, sandboxId, { name: "late" });
  expect((await containerStatus(daemon, late)).state).toBe(ContainerState.CONTAINER_RUNNING);
  await daemon.api.stopContainer({ containerId, timeout: 10n });
  expect(await exited(daemon, containerId)).toMatchObject({ exitCode: 7, reason: "Error" });
  expect(lines()).toEqual(lines().map((_, index) => `line ${index}`));
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
}

// Its sources are in the git history, which a shallow clone or an unpacked archive lacks; e2e-upgrade.test.ts does without.
test.skipIf(!hasEarlierSources)(
  "pods of the first version go on under today's, and today's under the first one, or it says why not",
  async () => {
    const earlier = { path: earlierBuild() };
    await using registry = await startImageRegistry();
    const daemon = await startDaemon({ mirror: registry.host, program: earlier });
    try {
      await runDetached(daemon, demoPod);
      const kept = await runningPod(daemon, "demo-pod");
      const pod = await countingPod(daemon, "of-the-first");
      await daemon.kill();
      await daemon.start({ path: binary });
      const after = await runningPod(daemon, "demo-pod");
      expect(after).toMatchObject({ sandboxId: kept.sandboxId, addresses: kept.addresses });
      expect(await pageOf(after)).toContain("Welcome to nginx!");
      await expectTakenOver(daemon, pod);

      const todays = await countingPod(daemon, "of-today");
      await daemon.kill();
      if (MIGRATIONS.length === pinned.schema.version) {
        await daemon.start(earlier);
        await expectTakenOver(daemon, todays);
      } else {
        await expect(daemon.start(earlier)).rejects.toThrow("written by a newer podrt");
        await daemon.start({ path: binary });
      }
    } finally {
      await daemon.close();
    }
  },
);
