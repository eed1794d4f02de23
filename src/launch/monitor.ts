// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import type { LaunchHistory } from "./journal.ts";
import type { Program } from "./program.ts";

/** Descriptor numbers in the monitor: fixed, so that programs can name them. */
export const MONITOR_FD = {
  socket: 3,
  journal: 4,
  doorbell: 6,
  /** From here to below `request`, what a program opens has the first free number. */
  low: 7,
  /** Descriptor i of a request arrives as `request + i`: 0 the image, 1 the reply pipe, 2.. the caller's. */
  request: 100,
  /** From here on, behind all that a request brings, is what a child keeps out of the way of its own steps. */
  spare: 190,
  /** From here on programs keep descriptors for longer than their own request. */
  held: 256,
} as const;

/** Number in the monitor of the caller's i-th descriptor. */
export function passedFd(index: number): number {
  return MONITOR_FD.request + 2 + index;
}

/** A launch whose process is expected to end soon. */
export interface BriefLaunch {
  readonly tag: number;
  /** Over when the end is not to be waited for. */
  readonly patience: Promise<void>;
}

export interface Monitor {
  readonly identity: ProcessIdentity;
  /** Why nothing but its end can be had of it; absent from one that this podrt can speak with. */
  readonly refusal?: string;
  /**
   * Runs `program` with `fds` (which stay the caller's) and resolves when every child has exec'ed. A brief launch
   * resolves when its process has ended, so that nobody is woken for anything before that; or, once its patience
   * is over, as others do.
   */
  launch(program: Program, fds: readonly Fd[], brief?: BriefLaunch): Promise<void>;
  /** Reads what the journal has got since it was last rung for; listeners hear of it at once. */
  catchUp(): void;
  history(tag: number): LaunchHistory | undefined;
  forget(tag: number): void;
  /** Hears of each launch whose process ended, in order; one listener. */
  onExit(listener: (tag: number, history: LaunchHistory) => void): void;
  /** Resolves when the process of the launch `tag` has been reaped, or the monitor has ended. */
  reaped(tag: number): Promise<void>;
  /** Hears once that the monitor itself has ended, at once where it has already. */
  onGone(listener: () => void): void;
  isAlive(): boolean;
  /** Ends the monitor; its children stay. Idempotent. */
  end(): Promise<void>;
  /** Forgets the monitor on this side: descriptors closed, the process goes on. */
  disconnect(): void;
}
