// SPDX-License-Identifier: Apache-2.0
import { CanceledError, DeadlineExceededError, InternalError } from "../errors.ts";

/*
 * A layer is unpacked while those below it still are: its thread needs them for little, which it does last, and then
 * waits here. A thread that waits hears no messages, so the answer comes through memory that both sides see.
 */

/** The side that knows when the layers below are there. One of the two is called, once; what comes later is nothing. */
export interface LayersAnnouncement {
  /** What the thread is given. */
  readonly shared: SharedArrayBuffer;
  /** They are there, in these directories, TOP first. */
  ready(directories: readonly string[]): void;
  /** They will not come. */
  fail(): void;
}

const STATE = 0;
const LENGTH = 1;
const HEADER_BYTES = 8;
const [PENDING, READY, FAILED] = [0, 1, 2] as const;
/** As many layers as an image may have, below a state directory with a long name. */
const LIST_LIMIT_BYTES = 256 * 1024;
/** Only against a thread that waits for ever: what it waits for ends, and says so, in any case. */
const WAIT_LIMIT_MS = 3_600_000;

export function announceLayers(): LayersAnnouncement {
  const shared = new SharedArrayBuffer(HEADER_BYTES + LIST_LIMIT_BYTES);
  const header = new Int32Array(shared, 0, 2);
  const settle = (state: number) => {
    if (Atomics.compareExchange(header, STATE, PENDING, state) === PENDING) Atomics.notify(header, STATE);
  };
  return {
    shared,
    ready(directories) {
      const list = Buffer.from(JSON.stringify(directories));
      if (list.length > LIST_LIMIT_BYTES) return settle(FAILED);
      new Uint8Array(shared, HEADER_BYTES).set(list);
      header[LENGTH] = list.length;
      settle(READY);
    },
    fail: () => settle(FAILED),
  };
}

/** Waits until the layers below are there, and answers their directories, TOP first; CanceledError if they never will be. */
export function awaitLayers(shared: SharedArrayBuffer): readonly string[] {
  const header = new Int32Array(shared, 0, 2);
  if (Atomics.wait(header, STATE, PENDING, WAIT_LIMIT_MS) === "timed-out") {
    throw new DeadlineExceededError(`the layers below it were not there after ${WAIT_LIMIT_MS / 1000} s`);
  }
  if (Atomics.load(header, STATE) !== READY) throw new CanceledError("a layer below it was not unpacked");
  const list: unknown = JSON.parse(
    Buffer.from(new Uint8Array(shared, HEADER_BYTES, header[LENGTH]).slice()).toString(),
  );
  if (!Array.isArray(list)) throw new InternalError("the list of the layers below is none");
  return list as string[];
}
