// SPDX-License-Identifier: Apache-2.0

/** How many layers of an image are unpacked at a time. */
const LAYERS_AHEAD = 3;

/**
 * Starts to unpack an image's layers, from the bottom up and a few at a time, each once `prepare` has resolved for it
 * and those below it have been started: threads are given out in this order, so none waits for a layer that waits for
 * a thread. When one fails, no further one is started; the error is thrown once nothing is under way any more.
 */
export async function unpackInOrder(
  layers: number,
  prepare: (position: number) => Promise<void>,
  start: (position: number) => Promise<void>,
): Promise<void> {
  const started: Promise<void>[] = [];
  try {
    for (let position = 0; position < layers; position++) {
      await started[position - LAYERS_AHEAD];
      await prepare(position);
      const work = start(position);
      // It is waited for below at the latest.
      work.catch(() => {});
      started.push(work);
    }
    await Promise.all(started);
  } finally {
    await Promise.allSettled(started);
  }
}
