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
/**
 * ext4 without a journal gives no inode out again for a minute, and who makes one there looks at each of those that it
 * passes by (recently_deleted in fs/ext4/ialloc.c): whoever comes next would pay for what others have deleted.
 */
const restMs = 61_000;
/** Less than the image takes, for what others write meanwhile. */
const freedBytes = 500 << 20;
const image = `${LARGE_HOST}/${LARGE_IMAGE}`;
const sharing = SHARING_IMAGES.map((name) => `${COUNTED_HOST}/${name}`);

/** Images from a registry on loopback, and from a file: what adds files comes in turn, then what deletes them. */
export const images: Group = {
  name: "images",
  rows: Object.values(rows),
  needsLargeImages: true,
  isLong: true,
  async measure(bench) {
    const archive = await largeArchive();
    for (let round = 0; round < Math.min(rounds, bench.rounds); round += 1) {
      const peers = inTurn(bench.peers, round);
      const each = async (what: string, work: (peer: Peer) => Promise<unknown>) => {
        bench.note(`round ${round + 1}: ${what}`);
        for (const peer of peers) await work(peer);
      };
      await Bun.sleep(restMs);
      await each("pulls", (peer) => measurePull(bench, peer));
      await each("removals", (peer) => measureRemoval(bench, peer));
      await Bun.sleep(restMs);
      await each("imports", (peer) => measureImport(bench, peer, archive));
      await each("pulls at once", (peer) => measureSharing(bench, peer));
      await each("their removals", (peer) => removeAll(peer));
    }
  },
};

async function measurePull({ samples }: Bench, peer: Peer): Promise<void> {
  const cpuMs = peer.group.cpuMs();
  samples.add(rows.pull.title, peer.name, await timed(() => peer.api.pullImage({ image: { image } })));
  samples.add(rows.cpu.title, peer.name, (peer.group.cpuMs() - cpuMs) / 1000);
}

async function measureRemoval({ samples }: Bench, peer: Peer): Promise<void> {
  let fullBytes = 0;
  let startMs = 0;
  const removeS = await timed(() => {
    fullBytes = freeBytes(peer);
    startMs = performance.now();
    return remove(peer, image);
  });
  samples.add(rows.remove.title, peer.name, removeS);
  await eventually("the disk is free", async () => freeBytes(peer) - fullBytes > freedBytes, 60_000, 1);
  samples.add(rows.freed.title, peer.name, (performance.now() - startMs) / 1000);
}

async function measureImport({ samples }: Bench, peer: Peer, archive: string): Promise<void> {
  const { importImage } = peer;
  if (importImage !== undefined)
    samples.add(rows.import.title, peer.name, await timed(() => importImage(archive)));
}

async function measureSharing({ samples, takeBlobRequests }: Bench, peer: Peer): Promise<void> {
  takeBlobRequests();
  const pullAll = () => Promise.all(sharing.map((name) => peer.api.pullImage({ image: { image: name } })));
  samples.add(rows.sharing.title, peer.name, await timed(pullAll));
  const again = [...takeBlobRequests().values()].reduce((sum, count) => sum + count - 1, 0);
  samples.add(rows.again.title, peer.name, again);
}

/** Seconds that it takes, begun when all that was written before is on the disk. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  await Bun.spawn(["sync"]).exited;
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

function freeBytes({ dir }: Peer): number {
  const { bfree, bsize } = statfsSync(dir);
  return bfree * bsize;
}

async function removeAll(peer: Peer): Promise<void> {
  for (const name of sharing) await remove(peer, name);
  if (peer.importImage !== undefined) await remove(peer, image);
}

async function remove({ api }: Peer, name: string): Promise<void> {
  await api.removeImage({ image: { image: name } });
  const { image: left } = await api.imageStatus({ image: { image: name } });
  if (left !== undefined) throw new Error(`${name} is still there after its removal`);
}
