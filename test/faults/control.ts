// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, rmSync } from "node:fs";

/** What a daemon built for the sweeps does at its points. */
export const MODE = { off: 0, count: 1, die: 2, fail: 3 } as const;

/** Words of the control file, which the harness and every thread of the daemon have mapped. */
export const WORD = {
  mode: 0,
  /** Points passed since the mode was set. */
  passed: 1,
  /** The point, counted from 1, at which something happens. */
  target: 2,
  /** In mode `fail`: the errno. */
  errno: 3,
  /** Those of them that change something. */
  changes: 5,
  /** 1 once it has happened. */
  hit: 4,
} as const;

const BYTES = 4096;

/** Maps the control file, making it where it is missing. */
export function openControl(path: string): Int32Array {
  const fd = openSync(path, "a+");
  ftruncateSync(fd, BYTES);
  closeSync(fd);
  const bytes = Bun.mmap(path, { shared: true });
  return new Int32Array(bytes.buffer, bytes.byteOffset, BYTES / 4);
}

/** The environment variable that tells a daemon built for the sweeps its control file. */
export const CONTROL_VARIABLE = "PODRT_SWEEP_CONTROL";

/** What a control file says of the points since it was armed. */
export interface Passed {
  /** Points that change something. */
  readonly changes: number;
  /** Those and the ones that take something which can run out. */
  readonly all: number;
  /** Whether the daemon has come to the point that was chosen. */
  readonly wasHit: boolean;
  /** Which call that was, and from where. */
  readonly place: string;
}

/** The harness's end of a control file. */
export interface Control {
  readonly path: string;
  arm(mode: number, target?: number, errno?: number): void;
  /** Whether the chosen point has been come to since the last `arm`. */
  wasHit(): boolean;
  disarm(): Passed;
}

export function newControl(path: string): Control {
  const words = openControl(path);
  const notePath = `${path}.hit`;
  return {
    path,
    arm(mode, target = 0, errno = 0) {
      rmSync(notePath, { force: true });
      const values = [
        [WORD.mode, MODE.off],
        [WORD.passed, 0],
        [WORD.changes, 0],
        [WORD.target, target],
        [WORD.errno, errno],
        [WORD.hit, 0],
        [WORD.mode, mode],
      ] as const;
      for (const [word, value] of values) Atomics.store(words, word, value);
    },
    wasHit: () => Atomics.load(words, WORD.hit) === 1,
    disarm() {
      Atomics.store(words, WORD.mode, MODE.off);
      return {
        all: Atomics.load(words, WORD.passed),
        changes: Atomics.load(words, WORD.changes),
        wasHit: Atomics.load(words, WORD.hit) === 1,
        place: existsSync(notePath) ? readFileSync(notePath, "utf8") : "",
      };
    },
  };
}
