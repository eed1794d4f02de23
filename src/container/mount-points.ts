// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { makeLinkTarget, makeMountPoints, rootMountPoints } from "../launch/mount-point.ts";
import { mountOverlay } from "../launch/rootfs.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import type { CommonLayer } from "../snapshot/snapshotter.ts";
import { FILES_OF_POD } from "./launch.ts";

/**
 * The mount points of `mounts` as a layer that containers of the same image with the same list share: each would
 * make them in its own otherwise, and delete them with it.
 */
export function mountPointLayer(mounts: readonly RuntimeMount[]): CommonLayer {
  const points = rootMountPoints(mounts);
  return {
    name: createHash("sha256").update(JSON.stringify(points)).digest("hex"),
    make(overlay) {
      using root = mountOverlay(overlay);
      for (const path of FILES_OF_POD) makeLinkTarget(root, path);
      makeMountPoints(root, points);
    },
  };
}
