// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";
import { TAR_LIMITS } from "../image/tar-entry.ts";

/** What one copy moved. */
export interface CopySummary {
  readonly files: number;
  readonly bytes: number;
  /** Files that could not be, or were not to be, copied: sockets, devices, what vanished meanwhile, what the kernel makes up. */
  readonly leftOut: number;
}

export interface CopyBounds {
  readonly maxFiles: number;
  readonly maxBytes: number;
}

/** A copy that is larger is a mistake, or somebody's trap: a sparse file may claim any size. */
export const COPY_BOUNDS: CopyBounds = { maxFiles: TAR_LIMITS.maxEntries, maxBytes: 64 * 2 ** 30 };

/** Adds up what a copy has moved so far, and ends it at its bounds. */
export interface CopyCounter {
  file(): void;
  bytes(count: number): void;
  leftOut(): void;
  summary(): CopySummary;
}

export function copyCounter({ maxFiles, maxBytes }: CopyBounds = COPY_BOUNDS): CopyCounter {
  const sum = { files: 0, bytes: 0, leftOut: 0 };
  const checkFiles = () => {
    if (sum.files + sum.leftOut > maxFiles) {
      throw new ResourceExhaustedError(`there are more than the ${maxFiles} files that one copy may have`);
    }
  };
  return {
    file() {
      sum.files += 1;
      checkFiles();
    },
    bytes(count) {
      sum.bytes += count;
      if (sum.bytes > maxBytes) {
        throw new ResourceExhaustedError(`there is more than the ${maxBytes} bytes that one copy may have`);
      }
    },
    leftOut() {
      sum.leftOut += 1;
      checkFiles();
    },
    summary: () => ({ ...sum }),
  };
}
