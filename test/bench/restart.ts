// SPDX-License-Identifier: Apache-2.0

/**
 * Measures how long a daemon that was killed takes to be back, with pods of one running container each: from the
 * start of `podrt serve` to the first answer to Version, and until Status and both lists have answered with everything.
 *
 * usage: bun test/bench/restart.ts [PODS...]   (10 50 200)
 */
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import { type Daemon, startDaemon } from "../integration/harness/daemon.ts";
import { busybox, ensureImage, runContainer, runSandbox } from "../integration/harness/pods.ts";
import { describeMachine } from "./machine.ts";
import { Samples } from "./samples.ts";

const rounds = 10;
const makers = 4;

if (process.getuid?.() !== 0) {
  console.error("bench of restarts: needs root");
  process.exit(1);
}
const given = process.argv.slice(2).map(Number);
const counts = (given.length > 0 ? given : [10, 50, 200]).toSorted((a, b) => a - b);
process.exitCode = await main().then(
  () => 0,
  (error: unknown) => {
    console.error(error);
    return 1;
  },
);

async function main(): Promise<void> {
  await using registry = await startImageRegistry();
  const daemon = await startDaemon({ mirror: registry.host });
  try {
    console.log(`${rounds} restarts each, ${describeMachine()}`);
    await ensureImage(daemon, busybox);
    let made = 0;
    for (const count of counts) {
      const names = Array.from({ length: count - made }, (_, index) => `pod-${made + index}`);
      await Promise.all(Array.from({ length: makers }, () => makePods(daemon, names)));
      made = count;
      await measure(daemon, count);
    }
  } finally {
    await daemon.close();
  }
}

/** Makes a pod for each name, which it takes from the list. */
async function makePods(daemon: Daemon, names: string[]): Promise<void> {
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    const sandboxId = await runSandbox(daemon, name, { logDirectory: `${daemon.root}/logs/${name}` });
    await runContainer(daemon, sandboxId, { name: "app", logPath: "app.log" });
  }
}

/** The daemon is asked every twenty milliseconds whether it is back. */
async function measure(daemon: Daemon, count: number): Promise<void> {
  const samples = new Samples();
  for (let round = 0; round < rounds; round++) {
    await daemon.kill();
    const startMs = performance.now();
    await daemon.start();
    samples.add("Version", performance.now() - startMs);
    const [{ status }, { items }, { containers }] = await Promise.all([
      daemon.api.status({}),
      daemon.api.listPodSandbox({ filter: { state: { state: PodSandboxState.SANDBOX_READY } } }),
      daemon.api.listContainers({ filter: { state: { state: ContainerState.CONTAINER_RUNNING } } }),
    ]);
    samples.add("Status and lists", performance.now() - startMs);
    const isReady = status?.conditions.every((condition) => condition.status);
    if (!isReady || items.length !== count || containers.length !== count)
      throw new Error(`${items.length} pods and ${containers.length} containers of ${count} are running`);
  }
  for (const name of ["Version", "Status and lists"]) {
    const { p50, p99 } = samples.summary(name)!;
    console.log(`${count} pods: ${name} answered after p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`);
  }
}
