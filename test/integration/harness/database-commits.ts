// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

const fileHeaderBytes = 32;
const frameHeaderBytes = 24;

/**
 * How many transactions of an SQLite database are in its write-ahead log since that was begun anew (the format of
 * https://www.sqlite.org/fileformat2.html#the_write_ahead_log): frames whose header says how large the database became.
 */
export function readCommits(walFile: string): { readonly begun: string; readonly commits: number } {
  const wal = readFileSync(walFile);
  const pageBytes = wal.readUInt32BE(8);
  // Frames of before the log was begun anew have other salts.
  const begun = wal.toString("hex", 16, 24);
  let commits = 0;
  for (let at = fileHeaderBytes; at + frameHeaderBytes <= wal.length; at += frameHeaderBytes + pageBytes) {
    if (wal.toString("hex", at + 8, at + 16) !== begun) break;
    if (wal.readUInt32BE(at + 4) !== 0) commits += 1;
  }
  return { begun, commits };
}
