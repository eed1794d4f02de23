// SPDX-License-Identifier: Apache-2.0
import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";

/** An item is some kilobytes, annotations included at most a few hundred: far below the 16 MiB of a message. */
const BATCH_SIZE = 32;

/** Splits what a streaming list sends into messages; nothing found means no message. */
export function* inBatches<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += BATCH_SIZE) {
    yield items.slice(start, start + BATCH_SIZE);
  }
}

/** What a batch that is collected may have: a quarter of what a message may, so that another item still fits. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** The same for items that come one by one, and that may be large: a pod's have those of all its containers. */
export async function* collectBatches<D extends DescMessage>(
  type: D,
  items: AsyncIterable<MessageShape<D>>,
): AsyncGenerator<MessageShape<D>[]> {
  let batch: MessageShape<D>[] = [];
  let bytes = 0;
  for await (const item of items) {
    const itemBytes = toBinary(type, item).length;
    if (batch.length > 0 && (batch.length === BATCH_SIZE || bytes + itemBytes > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += itemBytes;
  }
  if (batch.length > 0) yield batch;
}
