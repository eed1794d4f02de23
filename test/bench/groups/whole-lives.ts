// SPDX-License-Identifier: Apache-2.0
import type { Peer } from "../peers/peer.ts";
import {
  forgetPod,
  OBEDIENT,
  type PodNetwork,
  preparePod,
  runPod,
  startContainer,
  stopContainer,
  stopPod,
  untilReady,
} from "../pods.ts";
import { type Group, inParallel, inTurn, type Row } from "../row.ts";

const lives = { unit: "per s", better: "more", target: { times: 12 } } as const;
const rateRows = {
  bridge: { title: "whole lives, 8 in parallel, bridge", ...lives },
  host: { title: "whole lives, 8 in parallel, host network", ...lives },
} as const satisfies Record<PodNetwork, Row>;
const cpuRow = {
  title: "CPU per whole life, bridge",
  unit: "ms",
  better: "less",
  target: { times: 15 },
} as const satisfies Row;

const width = 8;
/** What the last life leaves to do is counted too. */
const settleMs = 500;

/** Pods that come and go as fast as they can: RunPodSandbox to RemovePodSandbox with one container. */
export const wholeLives: Group = {
  name: "lives",
  rows: [...Object.values(rateRows), cpuRow],
  async measure({ peers, samples, isQuick, note }) {
    const [blocks, count] = isQuick ? [1, 16] : [5, 32];
    // The first block of each peer warms it up.
    for (let block = -1; block < blocks; block += 1) {
      for (const network of ["bridge", "host"] as const) {
        for (const peer of inTurn(peers, block)) {
          const cpuBefore = peer.group.cpuMs();
          const startMs = performance.now();
          const number = block < 0 ? width : count;
          await inParallel(number, width, (index) =>
            liveOnce(peer, `${network}-${block + 1}-${index}`, network),
          );
          const rate = (number / (performance.now() - startMs)) * 1000;
          await Bun.sleep(settleMs);
          note(`${peer.name}, ${network}: ${rate.toFixed(1)} lives per s`);
          if (block < 0) continue;
          samples.add(rateRows[network].title, peer.name, rate);
          if (network === "bridge")
            samples.add(cpuRow.title, peer.name, (peer.group.cpuMs() - cpuBefore) / number);
        }
      }
    }
  },
};

/** One pod with one container, from the first call to the last. */
export async function liveOnce(peer: Peer, name: string, network: PodNetwork): Promise<void> {
  const pod = await runPod(peer, preparePod(peer, name, network));
  const app = await startContainer(peer, pod, "app", OBEDIENT);
  await untilReady(pod);
  await stopContainer(peer, app);
  await stopPod(peer, pod);
  await forgetPod(peer, pod);
}
