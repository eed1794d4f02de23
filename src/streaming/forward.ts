// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { messageOf } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import type { ByteStream, InputStream, OutputStream } from "./byte-stream.ts";
import { streamOf } from "./socket-stream.ts";

/** One forwarded connection: its bytes, and where the client reads why there is none. */
export interface ForwardedPair {
  readonly port: number;
  readonly data: ByteStream;
  readonly error: OutputStream;
}

export interface ForwardOptions {
  /** Connects to a port of the pod. */
  readonly connect: (port: number) => Promise<Socket>;
  /** Hears that bytes went through. */
  readonly touch: () => void;
}

/** How long the rest of a connection is waited for once one side has ended. */
export interface Patience {
  /** What a client may still send to a server that has ended: in HTTP, say, nothing. */
  readonly afterServerMs: number;
  /** A server that has read the client's end and says nothing for so long has nothing to say. */
  readonly afterClientMs: number;
}

const PATIENCE: Patience = { afterServerMs: 1000, afterClientMs: 30_000 };

/**
 * Connects to the port and passes bytes both ways until both ends have ended, each half close passed on
 * as one. When the pod has ended, the client has one more second; when the client has ended, the pod has
 * as long as it keeps writing. Never rejects.
 */
export async function forward(
  { port, data, error }: ForwardedPair,
  options: ForwardOptions,
  patience = PATIENCE,
): Promise<void> {
  let pod: ByteStream;
  try {
    pod = streamOf(await options.connect(port));
  } catch (cause) {
    const text = `error forwarding port ${port}: ${messageOf(cause)}`;
    await quietly(error.write(new TextEncoder().encode(text)));
    await quietly(Promise.all([error.end(), data.end()]));
    data.cancel();
    return;
  }
  const isWhole = await quietly(exchange(data, pod, options.touch, patience));
  if (!isWhole) {
    pod.cancel();
    // Without a word on the error stream: for one, clients give up every connection that they forward.
    data.cancel();
  }
  await quietly(error.end());
}

/** Resolves when both directions have ended; rejects when one was cut off or not waited for any longer. */
async function exchange(
  client: ByteStream,
  pod: ByteStream,
  touch: () => void,
  { afterServerMs, afterClientMs }: Patience,
): Promise<void> {
  const over = Promise.withResolvers<never>();
  let writtenMs = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const giveUp = (who: string) => over.reject(new Error(`${who} was not waited for any longer`));
  const waitForPod = () => {
    const leftMs = writtenMs + afterClientMs - performance.now();
    if (leftMs <= 0) giveUp("the pod");
    else timer = setTimeout(waitForPod, leftMs);
  };
  const fromPod = copy(pod, client, () => {
    writtenMs = performance.now();
    touch();
  }).then(() => {
    clearTimeout(timer);
    timer = setTimeout(() => giveUp("the client"), afterServerMs);
  });
  const fromClient = copy(client, pod, touch).then(() => {
    writtenMs = performance.now();
    timer ??= setTimeout(waitForPod, afterClientMs);
  });
  try {
    await Promise.race([Promise.all([fromPod, fromClient]), over.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function copy(from: InputStream, to: OutputStream, touch: () => void): Promise<void> {
  for await (const chunk of from.incoming) {
    touch();
    await to.write(chunk);
  }
  await to.end();
}

/** Waits for work whose failure changes nothing any more; true when it succeeded. */
async function quietly(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    logger.debug({ error: messageOf(error) }, "a forwarded connection was cut off");
    return false;
  }
}
