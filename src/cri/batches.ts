// SPDX-License-Identifier: Apache-2.0

/** An item is some kilobytes, annotations included at most a few hundred: far below the 16 MiB of a message. */
const BATCH_SIZE = 32;

/** Splits what a streaming list sends into messages; nothing found means no message. */
export function* inBatches<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += BATCH_SIZE) {
    yield items.slice(start, start + BATCH_SIZE);
  }
}
