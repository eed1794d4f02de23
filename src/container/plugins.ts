// SPDX-License-Identifier: Apache-2.0
import type { ContainerConfig, LinuxContainerResources } from "../gen/runtime/v1/api_pb.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";

/** What a container is to be: as it was asked for, with its limits, and resolved. */
export interface Creation {
  readonly config: ContainerConfig;
  readonly spec: RuntimeSpec;
}

/** What a pod's containers may use together, and what running the pod costs besides. */
export interface PodResources {
  readonly resources: LinuxContainerResources | undefined;
  readonly overhead: LinuxContainerResources | undefined;
}

/**
 * The administrator's plugins, who hear of each step in the life of pods and containers before it is done, and may
 * change or refuse some. What refuses throws a FailedPreconditionError that names the plugin; the steps after which
 * there is nothing to refuse never throw. The end of a container and what follows a step they learn by the daemon's events.
 */
export interface LifecyclePlugins {
  /** The pod is complete but for its readiness. */
  runPodSandbox(pod: SandboxRecord): Promise<void>;
  updatePodSandbox(pod: SandboxRecord, change: PodResources): Promise<void>;
  postUpdatePodSandbox(pod: SandboxRecord): Promise<void>;
  /** Its containers have ended. */
  stopPodSandbox(pod: SandboxRecord): Promise<void>;
  removePodSandbox(pod: SandboxRecord): Promise<void>;
  /** Answers what the container is to be instead. */
  createContainer(record: ContainerRecord, creation: Creation): Promise<Creation>;
  startContainer(record: ContainerRecord): Promise<void>;
  /** Answers what is to be changed instead. */
  updateContainer(record: ContainerRecord, change: LinuxContainerResources): Promise<LinuxContainerResources>;
  postUpdateContainer(record: ContainerRecord): Promise<void>;
  removeContainer(record: ContainerRecord): Promise<void>;
}

const nothing = async () => {};

/** Where there are no plugins. */
export const NO_PLUGINS: LifecyclePlugins = {
  runPodSandbox: nothing,
  updatePodSandbox: nothing,
  postUpdatePodSandbox: nothing,
  stopPodSandbox: nothing,
  removePodSandbox: nothing,
  createContainer: async (_record, creation) => creation,
  startContainer: nothing,
  updateContainer: async (_record, change) => change,
  postUpdateContainer: nothing,
  removeContainer: nothing,
};
