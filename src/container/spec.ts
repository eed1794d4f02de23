// SPDX-License-Identifier: Apache-2.0
import type { ContainerConfig } from "../gen/runtime/v1/api_pb.ts";
import { IMAGE_VOLUME } from "../launch/mounts.ts";
import { contextOption } from "../launch/rootfs.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import type { ImageConfig } from "../oci/image-spec.ts";
import type { NamespaceType, RuntimeMount, RuntimeSeccomp, RuntimeSpec } from "../oci/runtime-spec.ts";
import { deviceSpec } from "./device-spec.ts";
import { mountSpec, rootPropagation, type SandboxFiles } from "./mount-spec.ts";
import { processSpec } from "./process-spec.ts";
import type { ContainerLabels } from "./security/selinux.ts";
import type { ResolvedUser } from "./user.ts";

/** What the sandbox and the image contribute to a container. */
export interface SpecContext {
  readonly image: ImageConfig;
  readonly user: ResolvedUser;
  readonly hostname: string;
  readonly files: SandboxFiles;
  readonly rootPath: string;
  readonly cgroupPath: string;
  /** Undefined for none. */
  readonly pidsLimit: number | undefined;
  readonly pausePid: number;
  /** `/proc/PID/ns/pid` to join; undefined for a new namespace; `host` for none. */
  readonly pidNamespace: string | undefined | "host";
  readonly available: ReadonlySet<CapabilityName>;
  /** Absent but for a Localhost profile. */
  readonly seccomp?: RuntimeSeccomp;
  /** Absent for a container that AppArmor does not confine. */
  readonly apparmorProfile?: string;
  /** Absent where SELinux is off. */
  readonly selinux?: ContainerLabels;
  /** The mounts of images, by their position among the requested ones. */
  readonly imageMounts: ReadonlyMap<number, RuntimeMount>;
  readonly hostNetwork: boolean;
  /** What the pod's user namespace maps; undefined for the host's. */
  readonly idMappings: IdMappings | undefined;
}

/** Resolves a container into an OCI runtime configuration; the launch program is compiled from it. */
export function runtimeSpec(config: ContainerConfig, context: SpecContext): RuntimeSpec {
  const security = config.linux?.securityContext;
  const privileged = security?.privileged ?? false;
  const devices = deviceSpec(config);
  const rootfsPropagation = rootPropagation(config);
  return {
    ociVersion: "1.2.0",
    process: {
      ...processSpec(config, context.image, context),
      ...(context.apparmorProfile === undefined ? {} : { apparmorProfile: context.apparmorProfile }),
      ...(context.selinux?.process === undefined ? {} : { selinuxLabel: context.selinux.process }),
    },
    root: { path: context.rootPath, readonly: security?.readonlyRootfs ?? false },
    hostname: context.hostname,
    mounts: labelled(
      mountSpec(config, {
        ...context,
        privileged,
        volumes: imageVolumes(context.image),
        images: context.imageMounts,
      }),
      context.selinux,
    ),
    annotations: config.annotations,
    linux: {
      namespaces: namespaces(context, privileged),
      ...(context.idMappings === undefined
        ? {}
        : { uidMappings: context.idMappings.uids, gidMappings: context.idMappings.gids }),
      devices: devices.devices,
      ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
      cgroupsPath: context.cgroupPath,
      resources: {
        devices: devices.rules,
        ...(context.pidsLimit === undefined ? {} : { pids: { limit: context.pidsLimit } }),
      },
      maskedPaths: privileged ? [] : (security?.maskedPaths ?? []),
      readonlyPaths: privileged ? [] : (security?.readonlyPaths ?? []),
      ...(context.seccomp === undefined ? {} : { seccomp: context.seccomp }),
      ...(context.selinux === undefined ? {} : { mountLabel: context.selinux.file }),
    },
  };
}

/** Each VOLUME of the image becomes a mount of its own, so that it stays writable in a read-only root. */
function imageVolumes(image: ImageConfig): RuntimeMount[] {
  return Object.keys(image.Volumes)
    .map(
      (path) =>
        `/${path
          .split("/")
          .filter((part) => part !== "" && part !== "." && part !== "..")
          .join("/")}`,
    )
    .filter((path) => path !== "/")
    .map((path) => ({ destination: path, type: "bind", source: path, options: ["rbind", IMAGE_VOLUME] }));
}

/** File systems that are the container's alone; the others have labels of their own, and keep them. */
const LABELLED_TYPES = ["tmpfs", "devpts", "overlay"];

function labelled(mounts: RuntimeMount[], labels: ContainerLabels | undefined): RuntimeMount[] {
  if (labels === undefined) return mounts;
  return mounts.map((mount) =>
    LABELLED_TYPES.includes(mount.type)
      ? { ...mount, options: [...mount.options, contextOption(labels.file)] }
      : mount,
  );
}

function namespaces(context: SpecContext, privileged: boolean): { type: NamespaceType; path?: string }[] {
  const ofPause = (type: NamespaceType, file: string) => ({
    type,
    path: `/proc/${context.pausePid}/ns/${file}`,
  });
  const pid = context.pidNamespace;
  return [
    { type: "mount" },
    ...(privileged ? [] : [{ type: "cgroup" as const }]),
    ...(context.idMappings === undefined ? [] : [ofPause("user", "user")]),
    ofPause("network", "net"),
    ofPause("ipc", "ipc"),
    ofPause("uts", "uts"),
    ...(pid === "host"
      ? []
      : [pid === undefined ? { type: "pid" as const } : { type: "pid" as const, path: pid }]),
  ];
}
