// SPDX-License-Identifier: Apache-2.0
import { hostId, type IdMappings } from "../oci/id-mapping.ts";
import type { IdMapping } from "../oci/runtime-spec.ts";

/** Whom a file belongs to. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Nobody: whom the kernel shows in a user namespace for those whom that does not have. */
const OVERFLOW_ID = 65_534;

/** The owner as the container calls it, of one as the host does. */
export function ownerInside({ uid, gid }: Owner, mappings: IdMappings | undefined): Owner {
  if (mappings === undefined) return { uid, gid };
  return { uid: idInside(mappings.uids, uid), gid: idInside(mappings.gids, gid) };
}

/** The reverse; undefined for one whom the container's user namespace does not have. */
export function ownerOutside({ uid, gid }: Owner, mappings: IdMappings | undefined): Owner | undefined {
  if (mappings === undefined) return { uid, gid };
  const [hostUid, hostGid] = [hostId(mappings.uids, uid), hostId(mappings.gids, gid)];
  return hostUid === undefined || hostGid === undefined ? undefined : { uid: hostUid, gid: hostGid };
}

function idInside(mappings: readonly IdMapping[], id: number): number {
  const range = mappings.find(({ hostID, size }) => id >= hostID && id < hostID + size);
  return range === undefined ? OVERFLOW_ID : range.containerID + (id - range.hostID);
}
