// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerState } from "../../../src/gen/runtime/v1/api_pb.ts";
import { projectDir } from "../../fixtures/images/packages.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import { busybox, nginx } from "../../integration/harness/pods.ts";
import { openPodman } from "../peers/podman.ts";
import type { PodrtPeer } from "../peers/podrt.ts";
import type { Group, Row } from "../row.ts";

const row = {
  title: "podrt run demo-pod.yaml to all containers running, against podman kube play",
  unit: "ms",
  better: "less",
  target: { times: 10 },
} as const satisfies Row;

const containers = 2;
const maxRounds = 20;

/** A manifest run by the command line alone, with the images already there. */
export const manifests: Group = {
  name: "manifests",
  rows: [row],
  async measure(bench) {
    const { podrt, samples } = bench;
    await using stack = new AsyncDisposableStack();
    const podman = await openPodman(bench.options);
    if (podman === undefined) bench.note("podman is not here: it is left out");
    else {
      stack.defer(podman.close);
      bench.addColumn("podman", podman.version);
    }
    const manifest = join(podrt.dir, "demo.yaml");
    writeFileSync(manifest, presentImages(readFileSync(join(projectDir, "examples/demo-pod.yaml"), "utf8")));
    for (const image of [busybox, nginx]) {
      await podrt.api.pullImage({ image: { image } });
      await podman?.podman("pull", "--quiet", image);
    }
    await podman?.podman("pull", "--quiet", "registry.k8s.io/pause:3.9");
    for (let round = -1; round < Math.min(maxRounds, bench.rounds); round += 1) {
      const add = (who: string, value: number) => {
        if (round >= 0) samples.add(row.title, who, value);
      };
      add("podrt", await runOwn(podrt, manifest));
      if (podman === undefined) continue;
      const startMs = performance.now();
      await podman.podman("kube", "play", "--quiet", manifest);
      add("podman", performance.now() - startMs);
      await podman.podman("pod", "rm", "--all", "--force", "--time", "0");
    }
  },
};

/** Neither is to ask the registry again for what it has. */
function presentImages(manifest: string): string {
  return manifest.replaceAll(/image: \w+/g, "$&, imagePullPolicy: IfNotPresent");
}

async function runOwn(podrt: PodrtPeer, manifest: string): Promise<number> {
  const startMs = performance.now();
  await podrt.command("run", "--detach", manifest);
  const filter = { state: { state: ContainerState.CONTAINER_RUNNING } };
  const areRunning = async () =>
    (await podrt.api.listContainers({ filter })).containers.length === containers;
  await eventually("all containers run", areRunning, 60_000, 1);
  const durationMs = performance.now() - startMs;
  await podrt.command("rm", "--force", "demo-pod");
  return durationMs;
}
