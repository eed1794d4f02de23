// SPDX-License-Identifier: Apache-2.0
import { closeSync, ftruncateSync, openSync } from "node:fs";

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
