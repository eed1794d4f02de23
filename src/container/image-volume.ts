// SPDX-License-Identifier: Apache-2.0
import { messageOf, NotFoundError, PodrtError } from "../errors.ts";
import type { ContainerConfig, Mount } from "../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../image/images.ts";
import { imageVolume, type OpenImageVolume, openImageVolume } from "../launch/image-volume.ts";
import { SUB_PATH } from "../launch/mounts.ts";
import type { PassedFds } from "../launch/passed-fds.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import type { Fd } from "../linux/fd.ts";
import { openInRoot } from "../linux/path.ts";
import { isErrno } from "../linux/syscall.ts";
import { type IdMappings, mountIdMappings } from "../oci/id-mapping.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ImageVolumeRecord } from "../state/containers.ts";
import { accessOptions, destinationOf } from "./mount-spec.ts";
import type { Runtime } from "./runtime.ts";
import { idMappingsOf, shownIds, specIdMappings } from "./user-namespace.ts";

/*
 * A mount of an image is an overlay of its layers without an upper one, made anew for each container as
 * a detached mount: nothing of it is on the host, and its pages are shared through the layers. What the
 * container needs of the image is in its own record, so that the image may be removed meanwhile.
 */

/** The kubelet knows a failed image volume by the first word of the message. */
const FAILURE = "ImageVolumeMountFailed";

/** A mount of an image that has been found. */
export interface ImageMount {
  /** Position of the mount in the configuration. */
  readonly index: number;
  readonly mount: Mount;
  readonly image: ImageRecord;
}

/** The mounts of `config` that are of images, which must be present. */
export function findImageMounts(runtime: Runtime, config: ContainerConfig): ImageMount[] {
  return config.mounts.flatMap((mount, index) => {
    if (mount.image === undefined) return [];
    const { image: reference } = mount.image;
    const image = named(`${fieldOf(index)}.image`, () => runtime.images.find(reference));
    if (image !== undefined) return [{ index, mount, image }];
    throw new NotFoundError(
      `${FAILURE}: ${fieldOf(index)}.image: image ${reference} is not present; pull it before it is mounted`,
    );
  });
}

/** What a container's record keeps of them. */
export function imageVolumeRecords(mounts: readonly ImageMount[]): ImageVolumeRecord[] {
  return mounts.map(({ index, image: { id, repoDigests } }) => ({
    mount: index,
    imageId: id,
    imageReference: repoDigests[0] ?? id,
  }));
}

/** The resolved mounts, by their position; each has been tried, so that its start will work. */
export function imageVolumeMounts(
  runtime: Runtime,
  mounts: readonly ImageMount[],
  mappings: IdMappings | undefined,
): Map<number, RuntimeMount> {
  return new Map(
    mounts.map(({ index, mount, image }) => {
      const resolved = named(fieldOf(index), () => {
        const chainIds = image.layers.map(({ chainId }) => chainId);
        return imageMount(mount, image.id, runtime.snapshotter.layerDirs(chainIds).reverse());
      });
      checkVolume(runtime, resolved, mappings, fieldOf(index), mount);
      return [index, resolved];
    }),
  );
}

/** It is mounted for its container alone, so there is nobody to exchange mounts with: no propagation. */
function imageMount(mount: Mount, imageId: string, directories: readonly string[]): RuntimeMount {
  return {
    destination: destinationOf(mount),
    type: "overlay",
    source: imageId,
    options: [
      ...accessOptions(mount),
      ...directories.map((directory) => `lowerdir+=${directory}`),
      ...(mount.imageSubPath === "" ? [] : [`${SUB_PATH}${mount.imageSubPath}`]),
    ],
    ...idMappingsOf(mount),
  };
}

/** The ids of an image are shown as its mount asks, and otherwise as they are in the container's own root. */
function open(runtime: Runtime, mount: RuntimeMount, mappings: IdMappings | undefined): Fd {
  const volume = imageVolume(mount);
  return openImageVolume(
    volume,
    runtime.paths.rootMountPoint,
    shownIds(runtime, mountIdMappings(mount) ?? mappings),
  );
}

function checkVolume(
  runtime: Runtime,
  resolved: RuntimeMount,
  mappings: IdMappings | undefined,
  field: string,
  mount: Mount,
): void {
  const volume = imageVolume(resolved);
  using root = named(`${field}.image`, () => open(runtime, resolved, mappings));
  if (volume.subPath === "") return;
  try {
    openInRoot(root.number, volume.subPath, O_PATH | O_DIRECTORY).close();
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
    throw new NotFoundError(
      `${FAILURE}: ${field}.image_sub_path: image ${mount.image?.image} has no directory ${volume.subPath} (${error.code})`,
      { cause: error },
    );
  }
}

/** Opens the image volumes of a container that is being started; `passed` closes them. */
export function openImageVolumes(
  runtime: Runtime,
  spec: RuntimeSpec,
  passed: PassedFds,
): Map<RuntimeMount, OpenImageVolume> {
  const mounts = spec.mounts.filter(({ type }) => type === "overlay");
  return new Map(
    mounts.map((mount) => {
      const root = named(`image ${mount.source} on ${mount.destination}`, () =>
        open(runtime, mount, specIdMappings(spec)),
      );
      return [mount, { root: passed.own(root), subPath: imageVolume(mount).subPath }];
    }),
  );
}

function fieldOf(index: number): string {
  return `config.mounts[${index}]`;
}

/** Whatever fails under `work` is said to be an image volume's failure. */
function named<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const kind = error instanceof PodrtError ? error.kind : "Internal";
    throw new PodrtError(kind, `${FAILURE}: ${what}: ${messageOf(error)}`, { cause: error });
  }
}
