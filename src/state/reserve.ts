// SPDX-License-Identifier: Apache-2.0
import { O_RDWR } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { trySyscall } from "../linux/syscall.ts";

const FALLOC_FL_KEEP_SIZE = 1;
/** SQLite writes its log's pages back, and begins it anew, after a thousand pages of 4 KiB. */
const RESERVED_BYTES = 6 << 20;

/**
 * Takes room on the disk for the write-ahead log of the database at `path`, beyond its end, so that on a full disk
 * ends and removals can still be recorded: those are what makes room. File systems that cannot do so go without.
 */
export function reserveLog(path: string): void {
  using log = open(`${path}-wal`, O_RDWR);
  trySyscall("fallocate", log.number, FALLOC_FL_KEEP_SIZE, 0, RESERVED_BYTES);
}
