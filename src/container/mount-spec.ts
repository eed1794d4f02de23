// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, realpathSync, statfsSync } from "node:fs";
import { basename, posix } from "node:path";
import { FailedPreconditionError, InvalidArgumentError, messageOf } from "../errors.ts";
import { type ContainerConfig, type Mount, MountPropagation } from "../gen/runtime/v1/api_pb.ts";
import { PROC_SUPER_MAGIC } from "../linux/abi/magic.ts";
import { canChangeMountTrees, mountSharing } from "../linux/mount-info.ts";
import { hostId, type IdMappings } from "../oci/id-mapping.ts";
import type { RootPropagation, RuntimeMount } from "../oci/runtime-spec.ts";
import { idMappingsOf, TTY_GROUP } from "./user-namespace.ts";

/** Host files and directories that a sandbox gives each of its containers. */
export interface SandboxFiles {
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
  /** The pod's shared memory, or the host's. */
  readonly shm: string;
}

const DEFAULT_MOUNTS: readonly RuntimeMount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
];

/** All mounts of a container: built-in ones unless one of the caller's claims their place, then the caller's. */
export function mountSpec(
  config: ContainerConfig,
  context: {
    files: SandboxFiles;
    privileged: boolean;
    volumes: readonly RuntimeMount[];
    /** The mounts of images, by their position among the requested ones. */
    images: ReadonlyMap<number, RuntimeMount>;
    hostNetwork: boolean;
    idMappings: IdMappings | undefined;
  },
): RuntimeMount[] {
  const readonlyRoot = config.linux?.securityContext?.readonlyRootfs ?? false;
  const requested = config.mounts.map(
    (mount, index) => context.images.get(index) ?? requestedMount(mount, `config.mounts[${index}]`),
  );
  const claimed = requested.map((mount) => mount.destination);
  // What were mounted below a mount that is shared with the host would be mounted on the host too.
  const shared = requested.filter(({ options }) => options.includes("rshared"));
  const replacing = [...WHOLE, ...shared.map(({ destination }) => destination)];
  const isBelow = (path: string, tops: readonly string[]) =>
    tops.some((top) => path.startsWith(`${top}/`) && claimed.includes(top));
  const builtIn = [
    ...DEFAULT_MOUNTS.map((mount) => inUserNamespace(mount, context)),
    ...systemMounts(context.privileged).map((mount) => inUserNamespace(mount, context)),
    ...fileMounts(context.files, readonlyRoot),
  ].filter(({ destination }) => !claimed.includes(destination) && !isBelow(destination, replacing));
  // Below a mount of the caller's, what the image has at the path of its volume is not to be seen.
  const volumes = context.volumes.filter(
    ({ destination }) => !claimed.includes(destination) && !isBelow(destination, claimed),
  );
  return [...builtIn, ...volumes, ...requested];
}

/** Built-in mounts that are replaced together with what is mounted below them. */
const WHOLE = ["/dev", "/sys/fs/cgroup"];

/** The root takes part in the exchange of mounts as far as one of the mounts in it does. */
export function rootPropagation(config: ContainerConfig): RootPropagation | undefined {
  const modes = config.mounts.flatMap(({ image, propagation }) => (image === undefined ? [propagation] : []));
  if (modes.includes(MountPropagation.PROPAGATION_BIDIRECTIONAL)) return "shared";
  return modes.includes(MountPropagation.PROPAGATION_HOST_TO_CONTAINER) ? "slave" : undefined;
}

/** A built-in mount as the pod's user namespace lets it be made. */
function inUserNamespace(
  mount: RuntimeMount,
  { idMappings, hostNetwork }: { idMappings: IdMappings | undefined; hostNetwork: boolean },
): RuntimeMount {
  if (idMappings === undefined) return mount;
  if (mount.type === "devpts" && hostId(idMappings.gids, TTY_GROUP) === undefined) {
    return { ...mount, options: mount.options.filter((option) => option !== `gid=${TTY_GROUP}`) };
  }
  // A sysfs shows a network namespace, and only who owns that may mount it.
  return mount.type === "sysfs" && hostNetwork
    ? { ...mount, type: "bind", source: "/sys", options: ["bind", "rprivate", ...mount.options] }
    : mount;
}

function systemMounts(privileged: boolean): RuntimeMount[] {
  const access = privileged ? "rw" : "ro";
  const options = ["nosuid", "noexec", "nodev", access];
  const hierarchies = cgroupHierarchies();
  const top: RuntimeMount = hierarchies.some(({ path }) => path === "/sys/fs/cgroup")
    ? { destination: "/sys/fs/cgroup", type: "cgroup2", source: "cgroup", options }
    : {
        destination: "/sys/fs/cgroup",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "noexec", "nodev", "mode=755", access],
      };
  const below = hierarchies
    .filter(({ path }) => path !== "/sys/fs/cgroup")
    .map(({ path, type, controllers }) => ({
      destination: `/sys/fs/cgroup/${basename(path)}`,
      type,
      source: "cgroup",
      options: [...options, ...controllers],
    }));
  return [{ destination: "/sys", type: "sysfs", source: "sysfs", options }, top, ...below];
}

const CGROUP_MOUNT = /^\S+ \S+ \S+ \S+ (\S+) .* - (cgroup2?) \S+ (\S+)$/;
const NO_CONTROLLERS = new Set([
  "rw",
  "ro",
  "xattr",
  "nsdelegate",
  "memory_recursiveprot",
  "favordynmods",
  "clone_children",
]);

interface Hierarchy {
  readonly path: string;
  readonly type: "cgroup" | "cgroup2";
  readonly controllers: readonly string[];
}

let hierarchiesOfHost: Hierarchy[] | undefined;

/** The cgroup hierarchies as this host mounts them; a container sees the same ones, from its own cgroup down. */
function cgroupHierarchies(): Hierarchy[] {
  hierarchiesOfHost ??= readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, path = "", type = "", options = ""] = CGROUP_MOUNT.exec(line) ?? [];
      if (type !== "cgroup" && type !== "cgroup2") return [];
      const controllers =
        type === "cgroup2"
          ? []
          : options
              .split(",")
              .filter((option) => !NO_CONTROLLERS.has(option) && !option.startsWith("release_agent="));
      return [{ path, type, controllers } as const];
    });
  return hierarchiesOfHost;
}

function fileMounts(files: SandboxFiles, readonlyRoot: boolean): RuntimeMount[] {
  const options = readonlyRoot ? ["rbind", "rprivate", "ro"] : ["rbind", "rprivate"];
  const bind = (source: string, destination: string, own = options): RuntimeMount => ({
    destination,
    type: "bind",
    source,
    options: own,
  });
  return [
    bind(files.hosts, "/etc/hosts"),
    bind(files.hostname, "/etc/hostname"),
    bind(files.resolvConf, "/etc/resolv.conf"),
    bind(files.shm, "/dev/shm", ["rbind", "rprivate"]),
  ];
}

const PROPAGATION: Readonly<Record<number, string>> = {
  [MountPropagation.PROPAGATION_PRIVATE]: "rprivate",
  [MountPropagation.PROPAGATION_HOST_TO_CONTAINER]: "rslave",
  [MountPropagation.PROPAGATION_BIDIRECTIONAL]: "rshared",
};

/** Where a mount goes, in the one spelling by which destinations are compared. */
export function destinationOf({ containerPath }: Mount): string {
  return posix.normalize(containerPath).replace(/\/$/, "");
}

function requestedMount(mount: Mount, field: string): RuntimeMount {
  const propagation = PROPAGATION[mount.propagation];
  if (propagation === undefined)
    throw new InvalidArgumentError(`${field}.propagation`, "is no propagation mode");
  const source = hostPath(mount.hostPath, field);
  const destination = destinationOf(mount);
  if (propagation !== "rprivate") checkPropagation(source, propagation, field);
  if (destination === "/proc") checkIsProc(source, field);
  if (mount.recursiveReadOnly) checkRecursion(field);
  return {
    destination,
    type: "bind",
    source,
    options: ["rbind", propagation, ...accessOptions(mount)],
    ...idMappingsOf(mount),
  };
}

/**
 * `ro` covers the top mount alone, `rro` what is mounted below it too. Relabelling for SELinux is not
 * among the options: podrt gives its processes no label of their own, so no label shuts them out.
 */
export function accessOptions(mount: Mount): string[] {
  const access = mount.recursiveReadOnly ? ["rro"] : mount.readonly ? ["ro"] : [];
  return [...access, ...mount.mountOptions];
}

/** Anything else at /proc would be asked about processes in the kernel's place. */
function checkIsProc(source: string, field: string): void {
  if (statfsSync(source).type === PROC_SUPER_MAGIC) return;
  throw new FailedPreconditionError(
    `${field}.host_path: ${source} is no proc file system, and nothing else may be mounted on /proc`,
  );
}

/** The kubelet knows the reason by the first word of the message. */
function checkRecursion(field: string): void {
  if (canChangeMountTrees()) return;
  throw new FailedPreconditionError(
    `RROUnsupported: ${field}.recursive_read_only: this kernel has no mount_setattr; use Linux 5.12 or later`,
  );
}

/** The real path of a mount's source; a missing one is made as a directory, which existing manifests count on. */
function hostPath(path: string, field: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw new FailedPreconditionError(`${field}.host_path: cannot use ${path}: ${messageOf(error)}`);
    }
  }
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return realpathSync(path);
  } catch (error) {
    throw new FailedPreconditionError(
      `${field}.host_path: cannot make directory ${path}: ${messageOf(error)}`,
    );
  }
}

/** The kernel passes mounts on only from a source whose own mount is shared (or, one way, a slave). */
function checkPropagation(source: string, propagation: string, field: string): void {
  const { isShared, isSlave } = mountSharing(source);
  if (isShared || (propagation === "rslave" && isSlave)) return;
  const needed = propagation === "rshared" ? "shared" : "shared or slave";
  throw new FailedPreconditionError(
    `${field}.propagation: ${source} is not on a ${needed} mount; run mount --make-rshared on the mount that holds it`,
  );
}
