// SPDX-License-Identifier: Apache-2.0
import { makeLinkTarget, makeMountPoints, rootMountPoints } from "../launch/mount-point.ts";
import { mountOverlay } from "../launch/rootfs.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import type { CommonLayer } from "../snapshot/snapshotter.ts";
import { FILES_OF_POD } from "./launch.ts";

/** Of a list that is shared: what is known of it stays in memory. */
const MOST_CHARACTERS = 4096;

/**
 * The mount points of `mounts` as a layer that containers of the same image with the same list share: each would
 * make them in its own otherwise, and delete them with it. Undefined where the list is very long.
 */
export function mountPointLayer(mounts: readonly RuntimeMount[]): CommonLayer | undefined {
  const points = rootMountPoints(mounts);
  const name = JSON.stringify(points);
  if (name.length > MOST_CHARACTERS) return undefined;
  return {
    name,
    make(overlay) {
      using root = mountOverlay(overlay);
      for (const path of FILES_OF_POD) makeLinkTarget(root, path);
      makeMountPoints(root, points);
    },
  };
}
