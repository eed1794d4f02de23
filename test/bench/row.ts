// SPDX-License-Identifier: Apache-2.0
import type { Peer, PeerOptions } from "./peers/peer.ts";
import type { PodrtPeer } from "./peers/podrt.ts";
import type { Samples } from "./samples.ts";

export type Unit = "ms" | "s" | "per s" | "KiB" | "MB" | "MB/s" | "s/GB" | "%" | "times" | "count";

/** What podrt has promised: a multiple of the best peer, or a figure that stands for itself. */
export type Target =
  | { readonly times: number }
  /** In the row's unit. */
  | { readonly atMost: number }
  /** To be as good as the best peer, within the spread of a measurement. */
  | "asGood";

/** One line of the table. */
export interface Row {
  readonly title: string;
  readonly unit: Unit;
  /** Whether less of it is better, as of time and memory, or more, as of lives in a second. */
  readonly better: "less" | "more";
  readonly target?: Target;
}

/** What a group of rows measures with. */
export interface Bench {
  readonly samples: Samples;
  /** podrt first. */
  readonly peers: readonly Peer[];
  readonly podrt: PodrtPeer;
  /** How often a thing is done whose median is asked for. */
  readonly rounds: number;
  /** Whether to be done in a few minutes. */
  readonly isQuick: boolean;
  /** What all peers were started with. */
  readonly options: PeerOptions;
  /** How often each blob was asked for at the registry that counts, by digest, since this was called last. */
  takeBlobRequests(): ReadonlyMap<string, number>;
  /** Adds a column beside those of the peers, of something that serves no CRI. */
  addColumn(name: string, version: string): void;
  /** Says what is going on. */
  note(text: string): void;
}

/** Rows that are measured together. */
export interface Group {
  /** By which it is chosen, as are its rows by their titles. */
  readonly name: string;
  readonly rows: readonly Row[];
  /** Whether the large images have to be there. */
  readonly needsLargeImages?: boolean;
  /** Whether it is left out of the quick form unless asked for by name. */
  readonly isLong?: boolean;
  measure(bench: Bench): Promise<void>;
}

/** All of them, beginning with another one each time, so that none is always the one after the same other. */
export function inTurn<T>(all: readonly T[], round: number): T[] {
  const first = ((round % all.length) + all.length) % all.length;
  return [...all.slice(first), ...all.slice(0, first)];
}

/** Runs the work for each number below the count, so many at a time. */
export async function inParallel(
  count: number,
  width: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, worker));
}
