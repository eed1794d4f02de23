// SPDX-License-Identifier: Apache-2.0
import { nowNs } from "../container/runtime.ts";
import { NotFoundError } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import type { Logger } from "../lib/logger.ts";
import type { DiskUsage, Snapshotter } from "../snapshot/snapshotter.ts";

/** What a container has written, and when that was measured, in nanoseconds since 1970. */
export interface LayerUsage extends DiskUsage {
  readonly atNs: bigint;
}

/** The last attempt to measure a layer, and the last that succeeded. */
interface Known {
  readonly usage: LayerUsage | undefined;
  readonly triedMs: number;
  readonly tookMs: number;
}

export interface WritableLayersOptions {
  /** A usage older than this is measured again, in the background, when somebody asks. */
  readonly refreshMs: number;
  /** A usage older than this is waited for, for as long as the caller's patience lasts. */
  readonly staleMs: number;
}

const DEFAULTS: WritableLayersOptions = { refreshMs: 10_000, staleMs: 60_000 };
/** Measuring may take this part of the time, so that large layers are measured less often. */
const MOST_OF_THE_TIME = 1 / 10;
const PATIENCE_MS = 150;

/** What one call is ready to wait for all layers together, from the first that it has to wait for. */
export class Patience {
  #over: Promise<void> | undefined;

  over(): Promise<void> {
    this.#over ??= sleep(PATIENCE_MS);
    return this.#over;
  }
}

/** What containers have written, measured by walking it, so mostly answered from memory. */
export class WritableLayers {
  readonly #known = new Map<string, Known>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #snapshotter: Pick<Snapshotter, "snapshotUsage">;
  readonly #log: Pick<Logger, "warn">;
  readonly #options: WritableLayersOptions;

  constructor(
    snapshotter: Pick<Snapshotter, "snapshotUsage">,
    log: Pick<Logger, "warn">,
    options: WritableLayersOptions = DEFAULTS,
  ) {
    this.#snapshotter = snapshotter;
    this.#log = log;
    this.#options = options;
  }

  /** The usage of a snapshot; undefined when it is not known before the caller's patience is over. */
  async usage(key: string, patience: Patience): Promise<LayerUsage | undefined> {
    const known = this.#known.get(key);
    const waitedMs = known === undefined ? Number.POSITIVE_INFINITY : performance.now() - known.triedMs;
    const dueMs = Math.max(this.#options.refreshMs, (known?.tookMs ?? 0) / MOST_OF_THE_TIME);
    if (waitedMs >= dueMs) {
      const refresh = this.#refresh(key);
      if (waitedMs >= this.#options.staleMs) await Promise.race([refresh, patience.over()]);
    }
    return this.#known.get(key)?.usage;
  }

  forget(key: string): void {
    this.#known.delete(key);
    this.#running.delete(key);
  }

  /** Of what is kept. */
  keys(): IterableIterator<string> {
    return this.#known.keys();
  }

  #refresh(key: string): Promise<void> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const work = this.#measure(key).then((known) => {
      // One that was forgotten meanwhile stays so.
      if (this.#running.get(key) !== work) return;
      this.#running.delete(key);
      if (known !== undefined) this.#known.set(key, known);
    });
    this.#running.set(key, work);
    return work;
  }

  /** Undefined when there is no such snapshot any more. */
  async #measure(key: string): Promise<Known | undefined> {
    const triedMs = performance.now();
    let usage = this.#known.get(key)?.usage;
    try {
      usage = { ...(await this.#snapshotter.snapshotUsage(key)), atNs: BigInt(nowNs()) };
    } catch (err) {
      if (err instanceof NotFoundError) return undefined;
      this.#log.warn({ err, container: key }, "what a container has written could not be measured");
    }
    return { usage, triedMs, tookMs: performance.now() - triedMs };
  }
}
