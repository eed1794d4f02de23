// SPDX-License-Identifier: Apache-2.0
import { ContainerState, PodSandboxState } from "../../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import { busybox } from "../../integration/harness/pods.ts";
import { memoryOf, procText } from "../../integration/harness/proc.ts";
import { type Peer, removeAllPods } from "../peers/peer.ts";
import { forgetPod, IDLE, type Pod, preparePod, runPod, startContainer } from "../pods.ts";
import { type Bench, type Group, inParallel, inTurn, type Row } from "../row.ts";
import { liveOnce } from "./whole-lives.ts";

const ms = { unit: "ms", better: "less" } as const;
const memory = { unit: "KiB", better: "less" } as const;
const rows = {
  pod: { title: "memory per idle pod outside the workload (50 pods)", ...memory, target: { atMost: 64 } },
  cpu: { title: "idle CPU with 50 pods", unit: "%", better: "less", target: { atMost: 0.5 } },
  idle: { title: "daemon, idle (PSS)", ...memory, target: "asGood" },
  daemon: { title: "daemon with 100 pods (PSS)", ...memory, target: "asGood" },
  restart: {
    title: "restart with 200 pods, until Status and both lists are whole",
    ...ms,
    target: { atMost: 2000 },
  },
} as const satisfies Record<string, Row>;
const figures = [
  { title: "ListContainerStats, 100 pods", ...ms, target: { times: 15 } },
  { title: "ListPodSandboxMetrics, 100 pods", ...ms, target: { times: 15 } },
] as const satisfies readonly Row[];
const questions = [
  "Version",
  "Status",
  "ListPodSandbox",
  "ListContainers",
  "ListImages",
  "PodSandboxStatus",
].concat(["ContainerStatus", "ImageStatus"]);
const questionRows = questions.map((name): Row => ({ title: `${name}, 100 pods`, ...ms, target: "asGood" }));

/** After so long nothing that was begun is still being done, and garbage that waits for quiet has been collected. */
const settleMs = 15_000;
const makers = 4;
const warmUpPods = 24;

/** Many pods at rest: what they take, and what it takes to be asked about them. */
export const population: Group = {
  name: "population",
  rows: [...Object.values(rows), ...figures, ...questionRows],
  async measure(bench) {
    const [few, many, most] = bench.isQuick ? [10, 20, 20] : [50, 100, 200];
    const pods = new Map<Peer, Pod[]>(bench.peers.map((peer) => [peer, []]));
    const fill = async (peer: Peer, count: number) => {
      bench.note(`${count} pods of ${peer.name}`);
      const own = pods.get(peer)!;
      const made = own.length;
      await inParallel(count - made, makers, async (index) => {
        const pod = await runPod(peer, preparePod(peer, `idle-${made + index}`, "bridge"));
        await startContainer(peer, pod, "app", IDLE);
        own.push(pod);
      });
    };
    try {
      for (const peer of bench.peers) await measureRest(bench, peer, few, () => fill(peer, few));
      for (const peer of bench.peers) await fill(peer, many);
      await Bun.sleep(settleMs);
      for (const peer of bench.peers)
        bench.samples.add(rows.daemon.title, peer.name, memoryOf(peer.pid())["Pss"]! / 1024);
      await askAll(bench, pods);
      for (const peer of bench.peers) await fill(peer, most);
      await restartAll(bench, most);
    } finally {
      for (const peer of bench.peers) {
        await removeAllPods(peer);
        for (const pod of pods.get(peer)!) await forgetPod(peer, pod);
      }
    }
  },
};

/** Memory and CPU time of a peer before and after it has its first pods. */
async function measureRest(
  bench: Bench,
  peer: Peer,
  count: number,
  fill: () => Promise<void>,
): Promise<void> {
  const { samples, isQuick } = bench;
  await restart(peer);
  await Bun.sleep(settleMs);
  samples.add(rows.idle.title, peer.name, memoryOf(peer.pid())["Pss"]! / 1024);
  // Its first pods are those for which it comes to know its own code, which has nothing to do with their number.
  await inParallel(warmUpPods, makers, (index) => liveOnce(peer, `warm-${index}`, "bridge"));
  await Bun.sleep(settleMs);
  const before = memoryOf(peer.pid())["Pss"]!;
  await fill();
  await Bun.sleep(settleMs);
  const helpers = peer.group.pids().filter((pid) => !isWorkload(pid));
  const outside = helpers.reduce((sum, pid) => sum + (memoryOf(pid)["Pss"] ?? 0), -before);
  samples.add(rows.pod.title, peer.name, outside / 1024 / count);
  const watchMs = isQuick ? 10_000 : 30_000;
  const cpuMs = peer.group.cpuMs();
  await Bun.sleep(watchMs);
  samples.add(rows.cpu.title, peer.name, ((peer.group.cpuMs() - cpuMs) / watchMs) * 100);
}

/** What the user asked for, as opposed to what the runtime has beside it. */
function isWorkload(pid: number): boolean {
  return procText(`/proc/${pid}/cmdline`) === `${IDLE.join("\0")}\0`;
}

/** Each question to each peer in its turn. */
async function askAll({ peers, rounds, samples, note }: Bench, pods: Map<Peer, Pod[]>): Promise<void> {
  note("asking about them");
  const count = pods.get(peers[0]!)!.length;
  const containers = new Map<Peer, string>();
  for (const peer of peers) containers.set(peer, (await peer.api.listContainers({})).containers[0]!.id);
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, { title }] of questionRows.entries()) {
      for (const peer of inTurn(peers, round)) {
        const ask = question(questions[index]!, peer, pods.get(peer)![0]!.id, containers.get(peer)!);
        await samples.time(title, peer.name, ask);
      }
    }
  }
  const figureRounds = Math.min(rounds, 10);
  for (let round = 0; round < figureRounds; round += 1) {
    for (const peer of inTurn(peers, round)) {
      await samples.time(figures[0].title, peer.name, async () => {
        const { stats } = await peer.api.listContainerStats({});
        if (stats.length !== count) throw new Error(`${peer.name}: statistics of ${stats.length} containers`);
      });
      const hasMetrics = await peer.api.listPodSandboxMetrics({}).then(
        () => true,
        () => false,
      );
      if (hasMetrics)
        await samples.time(figures[1].title, peer.name, () => peer.api.listPodSandboxMetrics({}));
    }
    // What is kept of one round is too old for the next.
    await Bun.sleep(1100);
  }
}

function question(
  name: string,
  { api }: Peer,
  podSandboxId: string,
  containerId: string,
): () => Promise<unknown> {
  const all: Readonly<Record<string, () => Promise<unknown>>> = {
    Version: () => api.version({}),
    Status: () => api.status({}),
    ListPodSandbox: () => api.listPodSandbox({}),
    ListContainers: () => api.listContainers({}),
    ListImages: () => api.listImages({}),
    PodSandboxStatus: () => api.podSandboxStatus({ podSandboxId }),
    ContainerStatus: () => api.containerStatus({ containerId }),
    ImageStatus: () => api.imageStatus({ image: { image: busybox } }),
  };
  return all[name]!;
}

async function restart(peer: Peer): Promise<void> {
  await peer.kill();
  await peer.start();
  await eventually("it answers over the connection of before", () => peer.api.version({}));
}

async function restartAll({ peers, samples, isQuick, note }: Bench, count: number): Promise<void> {
  note("restarting");
  for (let round = 0; round < (isQuick ? 2 : 5); round += 1) {
    for (const peer of inTurn(peers, round)) {
      await peer.kill();
      await samples.time(rows.restart.title, peer.name, async () => {
        await peer.start();
        await eventually("all pods are there again", () => isWhole(peer, count), 60_000);
      });
      await Bun.sleep(1000);
    }
  }
}

async function isWhole({ api }: Peer, count: number): Promise<boolean> {
  const [{ items }, { containers }] = await Promise.all([
    api.listPodSandbox({ filter: { state: { state: PodSandboxState.SANDBOX_READY } } }),
    api.listContainers({ filter: { state: { state: ContainerState.CONTAINER_RUNNING } } }),
    api.status({}),
  ]);
  return items.length === count && containers.length === count;
}
