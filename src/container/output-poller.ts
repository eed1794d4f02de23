// SPDX-License-Identifier: Apache-2.0
import { F_GETFL, F_SETFL, O_ASYNC, O_NONBLOCK } from "../linux/abi/fcntl.ts";
import { ReadyWatch } from "../linux/ready-watch.ts";
import { trySyscall } from "../linux/syscall.ts";

/*
 * Tells when containers have written, without reading: what is read is gone from its pipe, and a
 * daemon that is killed would take it along. Idle pipes are armed to raise SIGIO. One that has data is disarmed and looked at each
 * millisecond until it has been quiet for a while, so that a busy writer costs no signals, and an idle
 * machine no time at all.
 */

/** What a look at a source found. */
export type PollResult = "data" | "empty" | "ended";

const ACTIVE_INTERVAL_MS = 1;
const QUIET_TICKS = 20;
// A source with more than this to give waits for its turn after the others'.
const POLLS_PER_TURN = 8;
// When turns have taken so long, calls and sessions have theirs before the sources that are left.
const TICK_LIMIT_MS = 8;

const active = new Set<Source>();
let watched: ReadyWatch | undefined;
let isTickDue = false;

/** A source under watch. */
export interface Watch {
  /** Looks at it now and for a while, as when its writer is known to have ended. */
  poke(): void;
  stop(): void;
}

class Source implements Watch {
  readonly fd: number;
  readonly poll: () => PollResult;
  quietTicks = 0;
  readonly #watched: ReadyWatch;
  readonly #token: number;
  #isOver = false;

  constructor(watched: ReadyWatch, fd: number, poll: () => PollResult) {
    this.fd = fd;
    this.poll = poll;
    this.#watched = watched;
    this.#token = watched.add(fd, () => {
      if (!active.has(this)) activate(this);
    });
  }

  poke(): void {
    if (!this.#isOver) activate(this);
  }

  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    active.delete(this);
    setAsync(this.fd, false);
    this.#watched.delete(this.#token, this.fd);
  }
}

/**
 * Calls `poll` whenever the pipe or terminal `fd` may have something, until that answers `ended`. It
 * throws where the descriptor cannot be watched.
 */
export function watchOutput(fd: number, poll: () => PollResult): Watch {
  watched ??= new ReadyWatch();
  const source = new Source(watched, fd, poll);
  activate(source);
  // One look is enough before it rests: most containers are quiet for longer than it takes to start them.
  source.quietTicks = QUIET_TICKS - 1;
  return source;
}

function activate(source: Source): void {
  source.quietTicks = 0;
  active.add(source);
  setAsync(source.fd, false);
  tickSoon(0);
}

function tickSoon(delayMs: number): void {
  if (isTickDue) return;
  isTickDue = true;
  if (delayMs === 0) setImmediate(tick);
  else setTimeout(tick, delayMs);
}

function tick(): void {
  isTickDue = false;
  let isBusy = false;
  const endMs = performance.now() + TICK_LIMIT_MS;
  for (const source of [...active]) {
    if (performance.now() >= endMs) {
      isBusy = true;
      break;
    }
    // Behind those that have not had a turn.
    active.delete(source);
    active.add(source);
    isBusy = turn(source, endMs) || isBusy;
  }
  if (active.size > 0) tickSoon(isBusy ? 0 : ACTIVE_INTERVAL_MS);
}

/** One source's turn, which ends at `endMs` at the latest; true when it has more to give. */
function turn(source: Source, endMs: number): boolean {
  for (let polls = 0; polls < POLLS_PER_TURN && (polls === 0 || performance.now() < endMs); polls++) {
    const result = source.poll();
    if (result === "ended") {
      source.stop();
      return false;
    }
    if (result === "empty") {
      if (polls > 0) source.quietTicks = 0;
      else if (++source.quietTicks >= QUIET_TICKS) rest(source);
      return false;
    }
  }
  source.quietTicks = 0;
  return true;
}

/** Arms a quiet source again; what came just before that is found by a last look. */
function rest(source: Source): void {
  active.delete(source);
  setAsync(source.fd, true);
  const result = source.poll();
  if (result === "ended") source.stop();
  else if (result === "data") activate(source);
}

function setAsync(fd: number, armed: boolean): void {
  const flags = trySyscall("fcntl", fd, F_GETFL, 0);
  if (flags < 0) return;
  const wanted = (armed ? flags | O_ASYNC : flags & ~O_ASYNC) | O_NONBLOCK;
  if (wanted !== flags) trySyscall("fcntl", fd, F_SETFL, wanted);
}
