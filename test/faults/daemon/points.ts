// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { CONTROL_VARIABLE, MODE, openControl, WORD } from "../control.ts";

/*
 * Runs in every thread of a daemon that was built for the sweeps. A point is one call that changes something
 * outside the process, or takes something that can run out. At the point that the harness has chosen the daemon
 * dies right after the call, or the call fails without having been made.
 */
const path = process.env[CONTROL_VARIABLE];
const control = path === undefined ? undefined : openControl(path);

/** `changes` outlives the process; `takes` does not, so dying there is no case of its own. */
export type PointKind = "changes" | "takes";

/** Counts a point; answers the errno with which it must fail, and notes where a chosen one is. */
function pass(kind: PointKind, what: string): number | "die" | undefined {
  if (control === undefined) return undefined;
  const mode = Atomics.load(control, WORD.mode);
  if (mode === MODE.off || (mode === MODE.die && kind === "takes")) return undefined;
  if (kind !== "takes") Atomics.add(control, WORD.changes, 1);
  if (Atomics.add(control, WORD.passed, 1) + 1 !== Atomics.load(control, WORD.target)) return undefined;
  if (mode === MODE.count) return undefined;
  Atomics.store(control, WORD.hit, 1);
  writeFileSync(`${path}.hit`, `${what}\n${new Error("at").stack}\n`);
  return mode === MODE.die ? "die" : Atomics.load(control, WORD.errno);
}

function die(): void {
  process.kill(process.pid, "SIGKILL");
}

/** Makes a call that is a point; `refused` stands for it where it has to fail. */
export function atPoint<T>(kind: PointKind, what: string, call: () => T, refused: (errno: number) => T): T {
  const fate = pass(kind, what);
  if (typeof fate === "number") return refused(fate);
  const result = call();
  if (fate === "die") die();
  return result;
}

/** The same for a call that is done when its promise is. */
export async function atPointLater<T>(
  kind: PointKind,
  what: string,
  call: () => Promise<T>,
  refused: (errno: number) => Error,
): Promise<T> {
  const fate = pass(kind, what);
  if (typeof fate === "number") throw refused(fate);
  const result = await call();
  if (fate === "die") die();
  return result;
}
