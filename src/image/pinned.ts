// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { BUILT_IN_PAUSE } from "./built-in-pause.ts";
import type { ImageRecord } from "./image-records.ts";

/**
 * Whether a kubelet that makes room is to leave the image alone: the built-in pause, the sandbox image, and what
 * the configuration names besides. Derived from names at each look, so that a change of the configuration counts
 * for images that are there. It is no lock: an image may still be removed on request.
 */
export function isPinned(
  { repoTags, repoDigests }: Pick<ImageRecord, "repoTags" | "repoDigests">,
  { sandbox_image, pinned }: Pick<Config["image"], "sandbox_image" | "pinned">,
): boolean {
  const names = [...repoTags, ...repoDigests];
  const wanted = [BUILT_IN_PAUSE, ...(sandbox_image === undefined ? [] : [sandbox_image]), ...pinned];
  return wanted.some((pattern) =>
    pattern.endsWith("*")
      ? names.some((name) => name.startsWith(pattern.slice(0, -1)))
      : names.includes(pattern),
  );
}
