// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import type { Pod } from "./pod.ts";

/** User or group ids of the machine. */
export interface IdRange {
  readonly first: number;
  readonly length: number;
}

/** What a pod in a user namespace of its own has of each, from 0 on: all that 16 bits name, as with a kubelet. */
export const IDS_EACH = 65_536;
/**
 * Where pods get them: what systemd's table of ids leaves to nobody (its documentation's UIDS-GIDS), above what a kubelet
 * gives out and useradd(8) writes into subuid(5).
 */
const POOL: IdRange = { first: 0x7000_0000, length: 0x0ffe_0000 };

/** The first id of a range that touches none of `taken`. ResourceExhaustedError when there is none. */
export function freeHostIds(taken: readonly IdRange[]): number {
  const end = POOL.first + POOL.length;
  for (let first = POOL.first; first + IDS_EACH <= end; first += IDS_EACH) {
    const isFree = taken.every(
      (range) => range.first + range.length <= first || first + IDS_EACH <= range.first,
    );
    if (isFree) return first;
  }
  throw new ResourceExhaustedError(
    `no ${IDS_EACH} ids from ${POOL.first} to ${end - 1} are free for a pod with hostUsers: false; remove such pods, or take ranges out of /etc/subuid and /etc/subgid`,
  );
}

/** The range that a pod was given. */
export function hostIdsOf({ hostIds }: Pod): IdRange[] {
  return hostIds === undefined ? [] : [{ first: hostIds, length: IDS_EACH }];
}

/** The ranges that sandboxes have, whoever asked for them. */
export function mappedRanges({ uids, gids }: IdMappings): IdRange[] {
  return [...uids, ...gids].map(({ hostID, size }) => ({ first: hostID, length: size }));
}

/** The ranges of subuid(5) or subgid(5): lines of `NAME:FIRST:LENGTH`. */
export function subordinateRanges(text: string): IdRange[] {
  return text.split("\n").flatMap((line) => {
    const [, first, length] = /^[^#:]+:(\d{1,10}):(\d{1,10})\s*$/.exec(line) ?? [];
    return first === undefined ? [] : [{ first: Number(first), length: Number(length) }];
  });
}

/** The mapping of a pod's ids as the runtime interface has it; none for a pod in the machine's user namespace. */
export function podMapping({
  spec,
  hostIds,
}: Pod): { containerId: number; hostId: number; length: number }[] {
  if (spec.hostUsers !== false) return [];
  // One that is only explained has none yet.
  return [{ containerId: 0, hostId: hostIds ?? POOL.first, length: IDS_EACH }];
}
