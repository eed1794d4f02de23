// SPDX-License-Identifier: Apache-2.0

/*
 * A checkpoint of a pod is a directory:
 *
 *   pod.json           which pod it was and which archive is which container's; written last, so that a
 *                      directory without it is no checkpoint
 *   shm.tar            what is in the pod's shared memory (/dev/shm), as a layer; not for a pod with the host's
 *   containers/0.tar   the checkpoint of a container, as CheckpointContainer makes it (capture.ts)
 */
export const POD_FILE = "pod.json";
export const SHM_FILE = "shm.tar";
export const CONTAINERS_DIRECTORY = "containers";

/** Of the documents that podrt writes and reads; another one is refused. */
export const POD_VERSION = 1;

/** The content of `pod.json`. */
export interface PodDocument {
  readonly version: typeof POD_VERSION;
  readonly id: string;
  readonly checkpointedAtNs: string;
  readonly runtimeHandler: string;
  /** runtime.v1.PodSandboxConfig in protobuf JSON. */
  readonly config: unknown;
  /** True where `shm.tar` is there. */
  readonly hasSharedMemory: boolean;
  readonly containers: readonly { readonly name: string; readonly archive: string }[];
}
