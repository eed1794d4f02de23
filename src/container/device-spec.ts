// SPDX-License-Identifier: Apache-2.0
import { readdirSync, realpathSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { FailedPreconditionError, InvalidArgumentError, messageOf } from "../errors.ts";
import type { ContainerConfig, Device } from "../gen/runtime/v1/api_pb.ts";
import { ALL_DEVICES, type DeviceRule } from "../linux/cgroup/device-rules.ts";
import type { RuntimeDevice } from "../oci/runtime-spec.ts";

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
// A directory of devices, such as /dev/snd, has dozens; more than this is a mistake.
const DEVICES_LIMIT = 4096;

/** The nodes that every container has (runtime-spec, config-linux.md, Default Devices). */
const DEFAULT_DEVICES: readonly RuntimeDevice[] = [
  ["/dev/null", 1, 3],
  ["/dev/zero", 1, 5],
  ["/dev/full", 1, 7],
  ["/dev/random", 1, 8],
  ["/dev/urandom", 1, 9],
  ["/dev/tty", 5, 0],
].map(([path, major, minor]) => ({
  path: path as string,
  type: "c",
  major: major as number,
  minor: minor as number,
  fileMode: 0o666,
  uid: 0,
  gid: 0,
}));

export interface DeviceSpec {
  readonly devices: readonly RuntimeDevice[];
  /** What the device cgroup allows beyond the defaults. */
  readonly rules: readonly DeviceRule[];
}

/** The device nodes of a container; a privileged one gets the host's. */
export function deviceSpec(config: ContainerConfig): DeviceSpec {
  const requested = config.devices.flatMap((device, index) =>
    requestedDevices(device, `config.devices[${index}]`),
  );
  if (config.linux?.securityContext?.privileged) {
    const host = listDevices("/dev", "/dev", 0).map(({ device }) => device);
    return {
      devices: unique([...requested.map(({ device }) => device), ...DEFAULT_DEVICES, ...host]),
      rules: ALL_DEVICES,
    };
  }
  return {
    devices: unique([...requested.map(({ device }) => device), ...DEFAULT_DEVICES]),
    rules: requested.map(({ device, access }) => ({
      allow: true,
      type: device.type,
      major: device.major,
      minor: device.minor,
      access,
    })),
  };
}

function unique(devices: readonly RuntimeDevice[]): RuntimeDevice[] {
  const seen = new Set<string>();
  return devices.filter(({ path }) => !seen.has(path) && seen.add(path));
}

function requestedDevices(device: Device, field: string): { device: RuntimeDevice; access: string }[] {
  if (!/^[rwm]{1,3}$/.test(device.permissions)) {
    throw new InvalidArgumentError(
      `${field}.permissions`,
      `${JSON.stringify(device.permissions)} is not made of r, w and m`,
    );
  }
  const path = posix.normalize(device.containerPath).replace(/\/$/, "");
  let found: { device: RuntimeDevice }[];
  try {
    const real = realpathSync(device.hostPath);
    found = statSync(real).isDirectory()
      ? listDevices(real, path, 0)
      : [{ device: readDevice(real, path) }].flatMap(({ device: node }) => (node ? [{ device: node }] : []));
  } catch (error) {
    throw new FailedPreconditionError(
      `${field}.host_path: cannot use ${device.hostPath}: ${messageOf(error)}`,
    );
  }
  if (found.length === 0)
    throw new FailedPreconditionError(`${field}.host_path: ${device.hostPath} is no device`);
  return found.map((node) => ({ ...node, access: device.permissions }));
}

// What the container has of its own in /dev, or what would be the host's terminal or shared memory.
const NOT_FROM_HOST = new Set([
  "pts",
  "shm",
  "mqueue",
  "fd",
  ".lxc",
  ".lxd-mounts",
  ".udev",
  "console",
  "ptmx",
]);

function listDevices(directory: string, target: string, depth: number): { device: RuntimeDevice }[] {
  const found: { device: RuntimeDevice }[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (NOT_FROM_HOST.has(entry.name)) continue;
    const [source, destination] = [join(directory, entry.name), join(target, entry.name)];
    if (entry.isDirectory() && depth < 4) found.push(...listDevices(source, destination, depth + 1));
    else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      const device = readDevice(source, destination);
      if (device !== undefined) found.push({ device });
    }
    if (found.length > DEVICES_LIMIT) throw new Error(`more than ${DEVICES_LIMIT} devices below it`);
  }
  return found;
}

/** The device at `source` as a node to be made at `path`; undefined where there is something else. */
export function readDevice(source: string, path: string): RuntimeDevice | undefined {
  const { mode, rdev, uid, gid } = statSync(source);
  const kind = mode & S_IFMT;
  if (kind !== S_IFCHR && kind !== S_IFBLK) return undefined;
  return {
    path,
    type: kind === S_IFCHR ? "c" : "b",
    // makedev of glibc's sys/sysmacros.h, taken apart.
    major: (rdev >>> 8) & 0xfff,
    minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00),
    fileMode: mode & 0o7777,
    uid,
    gid,
  };
}
