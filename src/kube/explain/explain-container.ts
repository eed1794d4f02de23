// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { containerUser } from "../../container/create.ts";
import { imageUsers } from "../../container/image-users.ts";
import { findImageMounts, imageVolumeMounts } from "../../container/image-volume.ts";
import { ociHandler } from "../../container/oci/handler.ts";
import { cgroupResources, pidsLimitFor } from "../../container/resources.ts";
import type { Runtime } from "../../container/runtime.ts";
import { apparmorProfile } from "../../container/security/apparmor.ts";
import { readSeccompProfile, seccompChoice } from "../../container/security/seccomp.ts";
import { runtimeSpec } from "../../container/spec.ts";
import { availableCapabilities, podIdMappings } from "../../container/user-namespace.ts";
import { messageOf } from "../../errors.ts";
import {
  type ContainerConfig,
  MountPropagation,
  MountSchema,
  NamespaceMode,
  type PodSandboxConfig,
} from "../../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../../image/images.ts";
import { newListedFds } from "../../launch/listed-fds.ts";
import type { ListedProgramTable } from "../../launch/program-listing.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import type { SandboxRecord } from "../../state/sandboxes.ts";
import type { ContainerSpec } from "../manifest/container-fields.ts";
import { hostsFile, type Pod, type PodHome } from "../pod.ts";
import { imagesOf, pullPolicy, type WantedImage } from "../pod-images.ts";
import { messageFile } from "../termination-message.ts";
import { containerConfig } from "../to-cri.ts";
import { type CgroupPlan, CONTAINER_ID, cgroupPlan, SANDBOX_ID } from "./cgroup-plan.ts";
import { containerListing } from "./container-listing.ts";
import type { RegistryAnswer, RegistryAnswers } from "./registry-answers.ts";

export interface ContainerPlan {
  readonly name: string;
  readonly isInit: boolean;
  readonly image: ImagePlan;
  readonly command: readonly string[];
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  readonly workingDirectory: string;
  /** Names alone: values may be secrets. */
  readonly environment: readonly string[];
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  readonly seccomp: string;
  readonly mounts: readonly {
    readonly destination: string;
    readonly type: string;
    readonly source: string;
    readonly options: readonly string[];
  }[];
  /** Own ones and joined ones, as in `pid: its own`. */
  readonly namespaces: readonly string[];
  readonly cgroup: CgroupPlan;
  readonly program: readonly ListedProgramTable[];
  /** Why there is no program though nothing is amiss. */
  readonly unlisted?: string;
  /** What is not known yet, or cannot be done as things are. */
  readonly problem?: string;
}

export interface ImagePlan {
  readonly reference: string;
  readonly policy: string;
  /** Empty where it is not here yet. */
  readonly id: string;
  readonly step: string;
  /** Of one that would be pulled, unless nobody was asked. */
  readonly registry?: RegistryAnswer | undefined;
}

const NOTHING = {
  command: [],
  user: { uid: 0, gid: 0, groups: [] },
  workingDirectory: "",
  environment: [],
  capabilities: [],
  noNewPrivileges: false,
  seccomp: "",
  mounts: [],
  namespaces: [],
  program: [],
} as const;

/** The sandbox that a container would be in. */
interface PlannedSandbox {
  readonly config: PodSandboxConfig;
  readonly record: SandboxRecord;
}

/** Says how one container of a pod would be made and launched. */
export function explainContainer(
  runtime: Runtime,
  pod: Pod,
  { config: sandbox, record }: PlannedSandbox,
  container: ContainerSpec,
  home: PodHome,
  answers: RegistryAnswers,
): ContainerPlan {
  const image = runtime.images.find(container.image);
  const path = join(record.cgroupPath, "..", CONTAINER_ID);
  const common = {
    name: container.name,
    isInit: pod.spec.initContainers?.includes(container) ?? false,
    image: imagePlan(runtime, pod, imagesOf(container, pod.spec)[0]!, answers),
    cgroup: cgroupPlan(runtime, path, {}),
  };
  if (image === undefined) {
    const problem = `image ${container.image} is not here yet, and only it says what would be run: pull it first (podrt pull ${container.image})`;
    return { ...NOTHING, ...common, problem };
  }
  try {
    const present = { id: image.id, reference: container.image };
    const config = containerConfig(pod, container, 0, present, home, { addresses: [] });
    const spec = resolved(runtime, { config: sandbox, record }, config, image, path);
    const files = new Set([hostsFile(home, pod), messageFile(home, pod, container.name, 0)]);
    using passed = newListedFds();
    const limits = cgroupResources(config.linux?.resources);
    const pidsLimit = spec.linux.resources.pids?.limit;
    const handler = ociHandler(runtime, record);
    const resources = { ...limits, ...(pidsLimit === undefined ? {} : { pidsLimit }) };
    return {
      ...common,
      ...planOf(spec, config),
      cgroup: cgroupPlan(runtime, path, resources),
      ...(handler === undefined
        ? { program: containerListing(runtime, { sandbox, config, spec, path, files }, passed) }
        : { program: [], unlisted: `${handler.path} launches it` }),
    };
  } catch (error) {
    return { ...NOTHING, ...common, problem: messageOf(error) };
  }
}

export function imagePlan(
  { images }: Pick<Runtime, "images">,
  pod: Pod,
  wanted: WantedImage,
  answers: RegistryAnswers,
): ImagePlan {
  const { reference } = wanted;
  const image = images.find(reference);
  const policy = pullPolicy(wanted);
  const isHere = image !== undefined;
  const step =
    policy === "Never"
      ? isHere
        ? "is here"
        : "is not here, and its policy forbids to pull it: the container would not start"
      : isHere && policy === "IfNotPresent"
        ? "is here"
        : isHere
          ? "is here, and is asked for again"
          : "is pulled";
  const registry = answers(pod, wanted);
  return { reference, policy, id: image?.id ?? "", step, ...(registry === undefined ? {} : { registry }) };
}

function planOf(
  { process, linux, mounts }: RuntimeSpec,
  config: ContainerConfig,
): Omit<ContainerPlan, "name" | "isInit" | "image" | "cgroup" | "program"> {
  const choice = seccompChoice(config.linux?.securityContext);
  return {
    command: process.args,
    user: { uid: process.user.uid, gid: process.user.gid, groups: process.user.additionalGids },
    workingDirectory: process.cwd,
    environment: process.env.map((entry) => entry.split("=", 1)[0]!),
    capabilities: process.capabilities.bounding,
    noNewPrivileges: process.noNewPrivileges,
    seccomp: typeof choice === "string" ? choice : `the profile ${choice.localhost}`,
    mounts: mounts.map(({ destination, type, source, options }) => ({ destination, type, source, options })),
    namespaces: linux.namespaces.map(
      ({ type, path }) => `${type}: ${path === undefined ? "its own" : "the pod's"}`,
    ),
  };
}

/** The configuration that CreateContainer would come to, with the sources of mounts as they will be. */
function resolved(
  runtime: Runtime,
  { config: sandbox, record }: PlannedSandbox,
  config: ContainerConfig,
  image: ImageRecord,
  cgroupPath: string,
): RuntimeSpec {
  const security = config.linux?.securityContext;
  const options = sandbox.linux?.securityContext?.namespaceOptions;
  const mappings = podIdMappings(sandbox);
  const seccomp = readSeccompProfile(seccompChoice(security));
  const apparmor = apparmorProfile("config.linux.security_context", security, runtime.securityModules);
  const directory = join(runtime.paths.podsDir, SANDBOX_ID);
  const spec = runtimeSpec(withStandIns(config), {
    image: image.config,
    user: containerUser(config, image, () => imageUsers(runtime, image)),
    hostname: sandbox.hostname || runtime.hostname,
    files: {
      hosts: join(directory, "hosts"),
      hostname: join(directory, "hostname"),
      resolvConf: join(directory, "resolv.conf"),
      shm: options?.ipc === NamespaceMode.NODE ? "/dev/shm" : join(directory, "shm"),
    },
    rootPath: join(runtime.paths.containersDir, CONTAINER_ID),
    cgroupPath,
    pidsLimit: pidsLimitFor(runtime, record),
    pausePid: 0,
    pidNamespace: pidNamespaceOf(security?.namespaceOptions?.pid),
    hostNetwork: options?.network === NamespaceMode.NODE,
    idMappings: mappings,
    available: availableCapabilities(runtime, mappings),
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(apparmor === undefined ? {} : { apparmorProfile: apparmor }),
    imageMounts: imageVolumeMounts(runtime, findImageMounts(runtime, config), mappings),
  });
  const sources = new Map(config.mounts.map(({ containerPath, hostPath }) => [containerPath, hostPath]));
  return {
    ...spec,
    mounts: spec.mounts.map((mount) =>
      mount.type === "bind" && mount.source === STAND_IN
        ? { ...mount, source: sources.get(mount.destination) ?? mount.source }
        : mount,
    ),
  };
}

function pidNamespaceOf(mode: NamespaceMode | undefined): string | undefined {
  if (mode === NamespaceMode.NODE) return "host";
  return mode === NamespaceMode.CONTAINER ? undefined : "/proc/0/ns/pid";
}

const STAND_IN = "/";

/** What is not there yet would be made on the way; here it must not be. */
function withStandIns(config: ContainerConfig): ContainerConfig {
  const mounts = config.mounts.map((mount) =>
    mount.image !== undefined || existsSync(mount.hostPath)
      ? mount
      : create(MountSchema, {
          ...mount,
          hostPath: STAND_IN,
          propagation: MountPropagation.PROPAGATION_PRIVATE,
        }),
  );
  return { ...config, mounts };
}
