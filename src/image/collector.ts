// SPDX-License-Identifier: Apache-2.0
import { messageOf, PodrtError } from "../errors.ts";
import { collect } from "../gc/collect.ts";
import { createLeases, type Lease } from "../gc/leases.ts";
import { waitAtMost } from "../lib/deadline.ts";
import { logger } from "../lib/logger.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { ContentStore } from "./content-store.ts";
import type { ImageRecords } from "./image-records.ts";

/** Removes the blobs and layers nobody needs, one sweep at a time, and keeps off what is being brought in. */
export interface Collector {
  /** Sweeps all that is unreachable, or of that what `options` says, and frees what it took on disk. */
  sweep(inUse: () => Set<string>, options?: SweepOptions): Promise<void>;
  /**
   * Sweeps everything, and waits until it is there no more, but no longer than `waitMs`. That goes on behind the caller's
   * back, and so does the freeing of the disk: see `settled`.
   */
  sweepSoon(waitMs: number): Promise<void>;
  /** Resolves when what was swept so far is off the disk, or could not be taken off. */
  settled(): Promise<void>;
  /** Runs `work` under a lease; what it had brought in is removed again when it fails, blobs as `blobs` says. */
  leased<T>(work: (lease: Lease) => Promise<T>, blobs?: BlobFate): Promise<T>;
  /** Runs `work` while nothing at all is swept. */
  hold<T>(work: () => Promise<T>): Promise<T>;
}

/** Whether blobs may be found again by the next download of them: see ContentStore.setAside. */
export type BlobFate = "remove" | "setAside";

export interface SweepOptions {
  readonly candidates?: ReadonlySet<string>;
  readonly blobs?: BlobFate;
}

export interface CollectorDeps {
  readonly records: ImageRecords;
  readonly content: ContentStore;
  readonly snapshotter: Snapshotter;
  readonly inUse: () => Set<string>;
}

/** Removing an image answers well within the 2 s that crictl waits. */
export const SWEEP_WAIT_MS = 1000;

/** What cannot be removed is tried once more: otherwise it waits for the next image to go. */
const SWEEP_ATTEMPTS = 2;

export function createCollector({ records, content, snapshotter, inUse }: CollectorDeps): Collector {
  const leases = createLeases();
  let holds = 0;
  let isSweepDue = false;
  let lastSweep: Promise<unknown> = Promise.resolve();
  const freeing = new Set<Promise<void>>();

  const sweepNow = async (inUseImageIds: () => Set<string>, options: SweepOptions) => {
    if (holds > 0) {
      isSweepDue = true;
      return;
    }
    records.forget(inUseImageIds());
    for (let attempt = 1; attempt <= SWEEP_ATTEMPTS; attempt++) {
      if (await sweepOnce(options)) return;
    }
  };

  /** True when everything that nobody needs is gone. */
  const sweepOnce = async ({ candidates, blobs = "remove" }: SweepOptions): Promise<boolean> => {
    let isComplete = true;
    const { removed, freed } = await collect({
      graph: records,
      leases,
      stores: [
        {
          kind: "blob",
          list: content.list,
          // It is gone when the call returns, and off the disk when that has resolved.
          remove: async (digest) => ({ freed: content[blobs](digest) }),
        },
        { kind: "layer", list: () => snapshotter.listLayers(), remove: (id) => snapshotter.removeLayer(id) },
      ],
      ...(candidates === undefined ? {} : { candidates }),
      onFailure: (node, error) => {
        isComplete = false;
        logger.warn({ node, error: messageOf(error) }, "cannot collect");
      },
    });
    const isFreed = freed.finally(() => freeing.delete(isFreed));
    freeing.add(isFreed);
    if (removed.length > 0) logger.debug({ removed }, "collected");
    return isComplete;
  };

  /** Resolves when what is swept is there no more. */
  const takeAway: Collector["sweep"] = (inUseImageIds, options = {}) => {
    const done = lastSweep.then(() => sweepNow(inUseImageIds, options));
    lastSweep = done.catch(() => {});
    return done;
  };
  const sweepSoon = async (waitMs: number) => {
    const gone = takeAway(inUse).catch((error) => logger.warn({ error: messageOf(error) }, "cannot collect"));
    await waitAtMost(waitMs, gone);
  };

  const sweep: Collector["sweep"] = async (inUseImageIds, options) => {
    await takeAway(inUseImageIds, options);
    await Promise.all(freeing);
  };

  return {
    sweep,
    sweepSoon,
    async settled() {
      await lastSweep;
      await Promise.all(freeing);
    },
    async leased(work, blobs = "remove") {
      const lease = leases.open();
      try {
        return await work(lease);
      } catch (error) {
        lease.release();
        // The work's own error is the one to report; what cannot be removed now is swept later.
        await sweep(inUse, { candidates: lease.nodes, blobs: blobsAfter(error, blobs) }).catch(() => {});
        throw error;
      } finally {
        lease.release();
      }
    },
    async hold(work) {
      holds++;
      try {
        await lastSweep;
        return await work();
      } catch (error) {
        isSweepDue = true;
        throw error;
      } finally {
        holds--;
        if (holds === 0 && isSweepDue) {
          isSweepDue = false;
          await sweepSoon(SWEEP_WAIT_MS);
        }
      }
    },
  };
}

/** Content that is wrong is of no use again, and on a full disk room is needed more. */
function blobsAfter(error: unknown, wanted: BlobFate): BlobFate {
  const isUseless =
    error instanceof PodrtError &&
    (error.kind === "FailedPrecondition" ||
      error.kind === "InvalidArgument" ||
      error.kind === "ResourceExhausted");
  return isUseless ? "remove" : wanted;
}
