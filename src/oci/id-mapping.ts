// SPDX-License-Identifier: Apache-2.0
import type { IdMapping, RuntimeMount } from "./runtime-spec.ts";

/** What a user namespace maps, users and groups. */
export interface IdMappings {
  readonly uids: readonly IdMapping[];
  readonly gids: readonly IdMapping[];
}

/** What a mount maps; undefined for one that shows its file system's own ids. */
export function mountIdMappings({
  uidMappings: uids,
  gidMappings: gids,
}: RuntimeMount): IdMappings | undefined {
  return uids === undefined || gids === undefined ? undefined : { uids, gids };
}

/** The host's number for `id` of a user namespace; undefined where it is not mapped. */
export function hostId(mappings: readonly IdMapping[], id: number): number | undefined {
  const range = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return range && range.hostID + (id - range.containerID);
}

/** Whom the host takes for root of the user namespace. */
export function hostRoot({ uids, gids }: IdMappings): { readonly uid: number; readonly gid: number } {
  const [uid, gid] = [hostId(uids, 0), hostId(gids, 0)];
  if (uid === undefined || gid === undefined)
    throw new Error("a user namespace without root was let through");
  return { uid, gid };
}
