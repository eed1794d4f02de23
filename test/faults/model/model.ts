// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import type { Daemon } from "../../integration/harness/daemon.ts";
import type { Program } from "./program.ts";

/** Where a pod has its namespaces from. */
export const POD_KINDS = ["bridged", "host network", "shared processes", "user namespace"] as const;
export type PodKind = (typeof POD_KINDS)[number];

/** What one actor knows to be true of its own pods, which nobody else touches. */
export interface Model {
  /** Begins the names of its pods. */
  readonly actor: string;
  readonly pods: Pod[];
  /** Kills that are still to come, and sessions that are still to be broken off. */
  readonly pending: Set<Promise<unknown>>;
  /** Ids of everything that has been removed: none comes back. */
  readonly gone: Set<string>;
  /** Counts what needs a name of its own. */
  serial: number;
}

export interface Pod {
  readonly name: string;
  readonly kind: PodKind;
  readonly id: string;
  readonly address: string;
  readonly containers: Container[];
  /** Its pause or its monitor has been killed, or will be: it ends by itself. */
  isDying: boolean;
  isStopped: boolean;
}

export interface Container {
  readonly pod: Pod;
  readonly name: string;
  readonly id: string;
  readonly program: Program;
  readonly hasTerminal: boolean;
  readonly logPath: string;
  /** Files that its log was, before it was opened anew. */
  readonly formerLogs: string[];
  /** `started` until its end has been seen. */
  state: "created" | "started" | "ended";
  /** Exit codes that it may end with, as things are. */
  readonly codes: Set<number>;
  /** Its end as it was first told, which is how it has to be told for ever. */
  end: string | undefined;
  memoryBytes: number;
}

/** What the commands of a model work on. */
export interface Real {
  readonly daemon: Daemon;
  /** Addresses that pods have, of all actors together. */
  readonly addresses: Map<string, string>;
  /** Makes a call that must succeed; one that a disturbance has hit is repeated. */
  call<T>(what: string, make: () => Promise<T>): Promise<T>;
  /** Makes a call that must be refused with that code, disturbed or not. */
  refused(what: string, code: number, make: () => Promise<unknown>): Promise<void>;
  /** The same call while the first is in flight, unless `isTwice` is false: both have the same answer. */
  joined(what: string, isTwice: boolean, make: () => Promise<string>): Promise<string>;
  /** Whether a call that was made at that time may blame a disturbance. */
  excuses(sinceMs: number): boolean;
}

export function newModel(actor: string): Model {
  return { actor, pods: [], pending: new Set(), gone: new Set(), serial: 0 };
}

export function containersIn({ pods }: Model): Container[] {
  return pods.flatMap(({ containers }) => containers);
}

const BACKGROUND_LIMIT_MS = 10_000;

/** Work that goes on beside the commands, for a while at most; its failure is nobody's. */
export function inBackground({ pending }: Model, work: Promise<unknown>): void {
  const settled = Promise.race([work.catch(() => {}), sleep(BACKGROUND_LIMIT_MS)]).finally(() =>
    pending.delete(settled),
  );
  pending.add(settled);
}

export function must(condition: boolean, what: () => string): asserts condition {
  if (!condition) throw new Error(what());
}
