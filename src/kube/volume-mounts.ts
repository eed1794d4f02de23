// SPDX-License-Identifier: Apache-2.0
import { posix } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { MountPropagation, type MountSchema } from "../gen/runtime/v1/api_pb.ts";
import { SUB_PATH } from "../launch/mounts.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { mkdirAllInRoot, openBeneath } from "../linux/path.ts";
import { isErrno } from "../linux/syscall.ts";
import { expand } from "./expand.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { VolumeMountSpec, VolumeSpec } from "./manifest/volume-fields.ts";
import { allowedTree } from "./permissions.ts";
import { claimPath, emptyDirPath, filesVolumePath, type Pod, type PodHome } from "./pod.ts";

type MountInit = MessageInitShape<typeof MountSchema>;

const PROPAGATION = {
  None: MountPropagation.PROPAGATION_PRIVATE,
  HostToContainer: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  Bidirectional: MountPropagation.PROPAGATION_BIDIRECTIONAL,
} as const;

/** The volumes of a container as a kubelet would ask for them; `variables` are its environment. */
export function volumeMounts(
  pod: Pod,
  container: ContainerSpec,
  home: PodHome,
  variables: ReadonlyMap<string, string>,
): MountInit[] {
  const volumes = new Map((pod.spec.volumes ?? []).map((volume) => [volume.name, volume]));
  return (container.volumeMounts ?? []).map((mount) =>
    volumeMount(pod, volumes.get(mount.name)!, mount, subPathOf(mount, variables), home),
  );
}

function volumeMount(
  pod: Pod,
  volume: VolumeSpec,
  mount: VolumeMountSpec,
  subPath: string,
  home: PodHome,
): MountInit {
  const common = {
    containerPath: mount.mountPath,
    readonly: mount.readOnly === true || isReadOnly(volume),
    // Every kernel that podrt runs on can do it, so what is only wished for is had.
    recursiveReadOnly: (mount.recursiveReadOnly ?? "Disabled") !== "Disabled",
    propagation: PROPAGATION[mount.mountPropagation ?? "None"],
  };
  if (volume.image !== undefined) {
    return { ...common, image: { image: volume.image.reference }, imageSubPath: subPath };
  }
  if (volume.hostPath !== undefined) return { ...common, ...hostMount(pod, volume.hostPath.path, subPath) };
  return {
    ...common,
    hostPath: volumePath(pod, volume, home),
    // What is the pod's own gets its label; what is the host's keeps the one it has.
    selinuxRelabel: true,
    ...(subPath === "" ? {} : { mountOptions: [`${SUB_PATH}${subPath}`] }),
  };
}

/** Where a whole tree is allowed, a link in it leads nobody out of it. */
function hostMount(pod: Pod, path: string, subPath: string): MountInit {
  const tree = allowedTree(path, pod.permissions ?? ["all"]);
  const below = tree === undefined ? subPath : posix.join(posix.relative(tree, path), subPath);
  return { hostPath: tree ?? path, ...(below === "" ? {} : { mountOptions: [`${SUB_PATH}${below}`] }) };
}

/** Kubernetes lets nobody write to what it keeps in step with an object. */
function isReadOnly({ configMap, secret, downwardAPI, projected, persistentVolumeClaim, image }: VolumeSpec) {
  return (
    [configMap, secret, downwardAPI, projected, image].some((source) => source !== undefined) ||
    persistentVolumeClaim?.readOnly === true
  );
}

function volumePath(pod: Pod, volume: VolumeSpec, home: PodHome): string {
  const { persistentVolumeClaim, emptyDir, name } = volume;
  if (persistentVolumeClaim !== undefined)
    return claimPath(home, pod.namespace, persistentVolumeClaim.claimName);
  return emptyDir === undefined ? filesVolumePath(home, pod, name) : emptyDirPath(home, pod, name);
}

/** Empty for the whole volume. A variable that is not set, or a value that climbs, is an error. */
function subPathOf(
  { name, subPath = "", subPathExpr }: VolumeMountSpec,
  variables: ReadonlyMap<string, string>,
): string {
  const path = subPathExpr === undefined ? subPath : expand(subPathExpr, variables);
  if (subPathExpr === undefined) return path;
  const isClimbing = path.startsWith("/") || path.split("/").includes("..") || path.includes("\0");
  if (path !== "" && !isClimbing && !/\$\([^)]*\)/.test(path)) return path;
  throw new FailedPreconditionError(
    `the subPathExpr ${subPathExpr} of volume ${name} comes to ${JSON.stringify(path)}, which is no path below the volume; set the variables that it names`,
  );
}

/**
 * Makes the directories that a container's mounts name below their volumes. What containers of the pod
 * have put there meanwhile, links above all, cannot lead out of the volume.
 */
export function makeSubPaths(mounts: readonly MountInit[]): void {
  for (const { hostPath = "", mountOptions = [], containerPath } of mounts) {
    const subPath = mountOptions.find((option) => option.startsWith(SUB_PATH))?.slice(SUB_PATH.length);
    if (subPath === undefined) continue;
    try {
      using volume = open(hostPath, O_PATH | O_DIRECTORY);
      if (!exists(volume.number, subPath)) mkdirAllInRoot(volume.number, subPath, 0o755).close();
    } catch (error) {
      throw new FailedPreconditionError(
        `the subPath ${subPath} of the volume at ${containerPath} cannot be used: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}

function exists(volume: number, path: string): boolean {
  try {
    openBeneath(volume, path, O_PATH).close();
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
