// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, realpathSync } from "node:fs";
import { basename } from "node:path";
import { FailedPreconditionError, InvalidArgumentError, messageOf } from "../errors.ts";
import { type ContainerConfig, type Mount, MountPropagation } from "../gen/runtime/v1/api_pb.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";

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
  context: { files: SandboxFiles; privileged: boolean; volumes: readonly RuntimeMount[] },
): RuntimeMount[] {
  const readonlyRoot = config.linux?.securityContext?.readonlyRootfs ?? false;
  const requested = config.mounts.map((mount, index) => requestedMount(mount, `config.mounts[${index}]`));
  const claimed = new Set(requested.map((mount) => mount.destination));
  const builtIn = [
    ...DEFAULT_MOUNTS,
    ...systemMounts(context.privileged),
    ...fileMounts(context.files, readonlyRoot),
    ...context.volumes,
  ].filter(
    (mount) =>
      !claimed.has(mount.destination) && !(claimed.has("/dev") && mount.destination.startsWith("/dev")),
  );
  return [...builtIn, ...requested];
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

function requestedMount(mount: Mount, field: string): RuntimeMount {
  const propagation = PROPAGATION[mount.propagation];
  if (propagation === undefined)
    throw new InvalidArgumentError(`${field}.propagation`, "is no propagation mode");
  const source = hostPath(mount.hostPath, field);
  if (propagation !== "rprivate") checkPropagation(source, propagation, field);
  return {
    destination: mount.containerPath.replace(/\/+$/, "") || "/",
    type: "bind",
    source,
    options: ["rbind", propagation, ...(mount.readonly ? ["ro"] : [])],
  };
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
  const optional = mountOf(source);
  const isShared = optional.includes("shared:");
  if (isShared || (propagation === "rslave" && optional.includes("master:"))) return;
  const needed = propagation === "rshared" ? "shared" : "shared or slave";
  throw new FailedPreconditionError(
    `${field}.propagation: ${source} is not on a ${needed} mount; run mount --make-rshared on the mount that holds it`,
  );
}

/** The optional fields of /proc/self/mountinfo for the mount that holds `path`; see proc_pid_mountinfo(5). */
function mountOf(path: string): string {
  let best = { length: -1, optional: "" };
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const fields = line.split(" ");
    const point = (fields[4] ?? "").replace(/\\(\d{3})/g, (_, octal) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const holds = point === "/" || path === point || path.startsWith(`${point}/`);
    const separator = fields.indexOf("-");
    if (point !== "" && holds && point.length >= best.length) {
      best = { length: point.length, optional: fields.slice(6, separator).join(" ") };
    }
  }
  return best.optional;
}
