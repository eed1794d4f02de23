// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { mountAttr } from "../linux/abi/mount.ts";
import type { Fd } from "../linux/fd.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import { type ShownIds, withShownIds } from "./idmapped-directories.ts";
import { attributesOf, SUB_PATH } from "./mounts.ts";
import { CONTEXT, mountReadOnlyOverlay, setDetachedAttributes } from "./rootfs.ts";

/** What an overlay mount of a runtime configuration says: the layers of an image, and which part of it. */
export interface ImageVolume {
  /** Top first. */
  readonly lowerDirs: readonly string[];
  /** Of the image; empty for all of it. */
  readonly subPath: string;
  readonly attributes: number;
  /** SELinux context; absent where SELinux is off. */
  readonly label?: string | undefined;
}

/** An image volume that is open: all of the image as a detached mount, and the part of it that is asked for. */
export interface OpenImageVolume {
  readonly root: Fd;
  /** Empty for all of it. */
  readonly subPath: string;
}

const LOWER_DIRECTORY = "lowerdir+=";

export function imageVolume({ options }: RuntimeMount): ImageVolume {
  const after = (prefix: string) =>
    options.filter((option) => option.startsWith(prefix)).map((option) => option.slice(prefix.length));
  const [subPath = ""] = after(SUB_PATH);
  const [label] = after(CONTEXT);
  return { lowerDirs: after(LOWER_DIRECTORY), subPath, attributes: attributesOf(options), label };
}

/** The whole image as a detached mount that shows `ids`; `emptyDir` is any empty directory. */
export function openImageVolume(
  { lowerDirs, attributes, label }: ImageVolume,
  emptyDir: string,
  ids: ShownIds | undefined,
): Fd {
  if (lowerDirs.length === 0) throw new FailedPreconditionError("the image has no layers to be mounted");
  const root = withShownIds(lowerDirs, ids, (paths) => mountReadOnlyOverlay(paths, emptyDir, label));
  try {
    setDetachedAttributes(root, mountAttr(attributes), 0);
    return root;
  } catch (error) {
    root.close();
    throw error;
  }
}
