// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { FailedPreconditionError, messageOf, UnimplementedError } from "../../errors.ts";
import { IMAGE_VOLUME, SUB_PATH } from "../../launch/mounts.ts";
import { O_PATH } from "../../linux/abi/fcntl.ts";
import { ARCHITECTURE } from "../../linux/architecture.ts";
import { DEFAULT_DEVICE_RULES, type DeviceRule } from "../../linux/cgroup/device-rules.ts";
import type { Fd } from "../../linux/fd.ts";
import { openInRoot } from "../../linux/path.ts";
import { nativeArchitecture, type SeccompProfile } from "../../linux/seccomp/profile.ts";
import type { RuntimeMount, RuntimeProcess, RuntimeSpec } from "../../oci/runtime-spec.ts";

/** Where the file systems of a container will be. */
export interface BundlePlaces {
  /** The directory below which they are: the root at `root`. */
  readonly stage: string;
  /** The root as a detached mount. */
  readonly root: Fd;
  /** Names of the places of image volumes below the stage. */
  readonly volumes: ReadonlyMap<RuntimeMount, string>;
}

/** The oldest runtimes that are asked refuse newer versions, of which nothing is used here. */
const OCI_VERSION = "1.0.2";

/** The config.json of a bundle: a container's configuration, said to a runtime that knows nothing of podrt. */
export function bundleConfig(
  spec: RuntimeSpec,
  seccomp: SeccompProfile | undefined,
  places: BundlePlaces,
): object {
  const { devices, resources } = spec.linux;
  const { mountLabel, rootfsPropagation, maskedPaths, readonlyPaths, cgroupsPath, namespaces } = spec.linux;
  return {
    ociVersion: OCI_VERSION,
    process: bundleProcess(spec.process),
    root: { path: join(places.stage, "root"), readonly: spec.root.readonly },
    // The host name is the pod's, whose UTS namespace is joined.
    mounts: spec.mounts.flatMap((mount) => bundleMounts(mount, spec, places)),
    annotations: spec.annotations,
    linux: {
      namespaces,
      devices,
      cgroupsPath,
      // The limits stand in the cgroup already, which podrt makes and keeps up to date.
      resources: { devices: [...DEFAULT_DEVICE_RULES, ...(resources.devices ?? [])].map(bundleRule) },
      maskedPaths,
      readonlyPaths,
      ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
      ...(mountLabel === undefined ? {} : { mountLabel }),
      ...(seccomp === undefined ? {} : { seccomp: bundleSeccomp(seccomp) }),
    },
  };
}

/** What is executed in a running container, for `exec --process`. */
export function execProcess(process: RuntimeProcess, command: readonly string[], terminal: boolean): object {
  const hasTerm = process.env.some((entry) => entry.startsWith("TERM="));
  const env = terminal && !hasTerm ? [...process.env, "TERM=xterm"] : process.env;
  return { ...bundleProcess(process), env, terminal, args: command };
}

/** The process as it is, but for what podrt keeps in another form or older runtimes would pass over in silence. */
function bundleProcess({ rlimits, ioPriority, ...process }: RuntimeProcess): object {
  if (ioPriority !== undefined) {
    throw new UnimplementedError(
      `the I/O priority ${ioPriority.class}: podrt cannot tell an OCI runtime; use podrt's own runtime handler`,
    );
  }
  if (rlimits === undefined) return process;
  const number = (value: string, type: string) => exact(BigInt(value), type);
  return {
    ...process,
    rlimits: rlimits.map(({ type, soft, hard }) => ({
      type,
      soft: number(soft, type),
      hard: number(hard, type),
    })),
  };
}

function bundleMounts(mount: RuntimeMount, spec: RuntimeSpec, places: BundlePlaces): RuntimeMount[] {
  const { destination, options } = mount;
  // The runtimes make the hierarchies of cgroup v1 below one mount themselves.
  if (destination.startsWith("/sys/fs/cgroup/")) return [];
  if (destination === "/sys/fs/cgroup" && mount.type !== "bind") {
    const kept = options.filter((option) => !option.startsWith("mode="));
    return [{ destination, type: "cgroup", source: "cgroup", options: kept }];
  }
  const volume = places.volumes.get(mount);
  if (volume !== undefined) {
    const kept = options.filter((option) => !option.startsWith("lowerdir+=") && !option.startsWith(SUB_PATH));
    return [
      {
        destination,
        type: "bind",
        source: join(places.stage, volume),
        options: ["rbind", "rprivate", ...kept],
      },
    ];
  }
  if (!options.includes(IMAGE_VOLUME)) return [mount];
  // In a root that can be written to, so can the volume.
  if (!spec.root.readonly) return [];
  const source = join(places.stage, "root", placeInRoot(mount.source, places.root));
  return [{ destination, type: "bind", source, options: ["rbind", "rprivate", "rw"] }];
}

/** The path in the root with all links resolved there: the runtime would follow them outside. */
function placeInRoot(path: string, root: Fd): string {
  try {
    using found = openInRoot(root.number, path, O_PATH);
    return readlinkSync(`/proc/self/fd/${found.number}`);
  } catch (error) {
    throw new FailedPreconditionError(
      `the image has nothing at ${path}, where it has a volume: with a read-only root podrt's own runtime handler is needed (${messageOf(error)})`,
      { cause: error },
    );
  }
}

function bundleRule({ allow, type, major, minor, access }: DeviceRule): object {
  const number = (name: string, value: number) => (value < 0 ? {} : { [name]: value });
  return { allow, type, ...number("major", major), ...number("minor", minor), access };
}

const NATIVE = nativeArchitecture(ARCHITECTURE);

function bundleSeccomp(profile: SeccompProfile): object {
  const { defaultAction, defaultErrnoRet, architectures, flags, syscalls } = profile;
  return {
    defaultAction,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    architectures: [NATIVE, ...architectures.filter((name) => name !== NATIVE)],
    ...(flags.length === 0 ? {} : { flags }),
    syscalls: syscalls.map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet === undefined ? {} : { errnoRet }),
      args: args.map(({ index, value, valueTwo, op }) => ({
        index,
        value: exact(value, SECCOMP),
        valueTwo: exact(valueTwo, SECCOMP),
        op,
      })),
    })),
  };
}

const SECCOMP = "config.linux.security_context.seccomp";

/** JSON's numbers are exact up to here only. */
function exact(value: bigint, what: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new UnimplementedError(
    `${what}: ${value} is more than podrt can tell an OCI runtime; use podrt's own runtime handler`,
  );
}
