// SPDX-License-Identifier: Apache-2.0
import { statfsSync } from "node:fs";
import { eventually } from "../../integration/harness/eventually.ts";
import { COUNTED_HOST, LARGE_HOST, LARGE_IMAGE, largeArchive, SHARING_IMAGES } from "../large-image.ts";
import type { Peer } from "../peers/peer.ts";
import { type Bench, type Group, inTurn, type Row } from "../row.ts";

const seconds = { unit: "s", better: "less" } as const;
const rows = {
  pull: {
    title: "pull of an image of 5 layers, 24,000 files, 705 MB",
    ...seconds,
    target: { times: 2.5 },
  },
  cpu: { title: "CPU of that pull", ...seconds },
  import: { title: "import of the same image from a file", ...seconds, target: { times: 2.5 } },
  remove: { title: "RemoveImage of the same image", ...seconds, target: { times: 1.5 } },
  freed: { title: "until what it took is free again (statfs)", ...seconds },
  sharing: { title: "pull of 4 images that share layers, at once", ...seconds },
  again: {
    title: "blobs fetched more than once by that",
    unit: "count",
    better: "less",
    target: { atMost: 0 },
  },
} as const satisfies Record<string, Row>;

const rounds = 3;
/** Less than the image takes, for what others write meanwhile. */
const freedBytes = 500 << 20;
const image = `${LARGE_HOST}/${LARGE_IMAGE}`;
const sharing = SHARING_IMAGES.map((name) => `${COUNTED_HOST}/${name}`);

/** Images from a registry on loopback, and from a file; each is away again before the next time. */
export const images: Group = {
  name: "images",
  rows: Object.values(rows),
  needsLargeImages: true,
  isLong: true,
  async measure(bench) {
    const archive = await largeArchive();
    for (let round = 0; round < Math.min(rounds, bench.rounds); round += 1) {
      for (const peer of inTurn(bench.peers, round)) {
        bench.note(`${peer.name}, round ${round + 1}`);
        await measureLarge(bench, peer, archive);
        await measureSharing(bench, peer);
      }
    }
  },
};

async function measureLarge({ samples }: Bench, peer: Peer, archive: string): Promise<void> {
  const cpuMs = peer.group.cpuMs();
  const add = async (row: Row, work: () => Promise<unknown>) => {
    await settle();
    const startMs = performance.now();
    await work();
    samples.add(row.title, peer.name, (performance.now() - startMs) / 1000);
  };
  await add(rows.pull, () => peer.api.pullImage({ image: { image } }));
  samples.add(rows.cpu.title, peer.name, (peer.group.cpuMs() - cpuMs) / 1000);
  let fullBytes = 0;
  let startMs = 0;
  await add(rows.remove, () => {
    fullBytes = freeBytes(peer);
    startMs = performance.now();
    return remove(peer, image);
  });
  await eventually("the disk is free", async () => freeBytes(peer) - fullBytes > freedBytes, 60_000, 1);
  samples.add(rows.freed.title, peer.name, (performance.now() - startMs) / 1000);
  const { importImage } = peer;
  if (importImage === undefined) return;
  await add(rows.import, () => importImage(archive));
  await remove(peer, image);
}

function freeBytes({ dir }: Peer): number {
  const { bfree, bsize } = statfsSync(dir);
  return bfree * bsize;
}

/** Until what was written is on the disk: whoever comes next does not pay for whoever came before. */
async function settle(): Promise<void> {
  await Bun.spawn(["sync"]).exited;
}

async function remove({ api }: Peer, name: string): Promise<void> {
  await api.removeImage({ image: { image: name } });
  const { image: left } = await api.imageStatus({ image: { image: name } });
  if (left !== undefined) throw new Error(`${name} is still there after its removal`);
}

async function measureSharing({ samples, takeBlobRequests }: Bench, peer: Peer): Promise<void> {
  await settle();
  takeBlobRequests();
  const startMs = performance.now();
  await Promise.all(sharing.map((name) => peer.api.pullImage({ image: { image: name } })));
  samples.add(rows.sharing.title, peer.name, (performance.now() - startMs) / 1000);
  const again = [...takeBlobRequests().values()].reduce((sum, count) => sum + count - 1, 0);
  samples.add(rows.again.title, peer.name, again);
  for (const name of sharing) await remove(peer, name);
}
