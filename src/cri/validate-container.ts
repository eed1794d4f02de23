// SPDX-License-Identifier: Apache-2.0
import { isUtf8 } from "node:buffer";
import { posix } from "node:path";
import { annotatedDevices, isQualifiedName } from "../cdi/device-name.ts";
import {
  type ContainerConfig,
  type Device,
  type ImageSpec,
  type KeyValue,
  type Mount,
  MountPropagation,
} from "../gen/runtime/v1/api_pb.ts";
import {
  checkAbsolutePath,
  checkArgumentSize,
  checkArgumentSpace,
  checkArguments,
  checkImageName,
  checkLabels,
  checkName,
  checkNotEmpty,
  checkOptionalAbsolutePath,
  checkPath,
  checkPrintable,
  invalid,
  required,
  shown,
  unsupported,
} from "./validate-fields.ts";
import { checkResources } from "./validate-resources.ts";
import { checkContainerSecurity } from "./validate-security.ts";
import { checkMountMappings } from "./validate-user-namespace.ts";

const MAX_MOUNTS = 4096;
const MAX_DEVICES = 4096;

/** Checks everything of a container's configuration that needs no look at the machine. */
export function checkContainerConfig(path: string, config: ContainerConfig): void {
  checkName(`${path}.metadata.name`, required(`${path}.metadata`, config.metadata).name);
  const image = required(`${path}.image`, config.image);
  checkImageName(`${path}.image.image`, image.image);
  checkProcess(path, config);
  checkLogPath(`${path}.log_path`, config.logPath);
  if (config.mounts.length > MAX_MOUNTS)
    invalid(`${path}.mounts`, `must not have more than ${MAX_MOUNTS} entries`);
  for (const [index, mount] of config.mounts.entries()) checkMount(`${path}.mounts[${index}]`, mount);
  if (config.devices.length > MAX_DEVICES) {
    invalid(`${path}.devices`, `must not have more than ${MAX_DEVICES} entries`);
  }
  for (const [index, device] of config.devices.entries()) checkDevice(`${path}.devices[${index}]`, device);
  checkLabels(path, config);
  checkCdi(path, config);
  if (config.windows !== undefined) unsupported(`${path}.windows`, "Windows containers are");
  const { resources, securityContext } = config.linux ?? {};
  if (resources !== undefined) checkResources(`${path}.linux.resources`, resources);
  if (securityContext !== undefined)
    checkContainerSecurity(`${path}.linux.security_context`, securityContext);
}

function checkProcess(path: string, config: ContainerConfig): void {
  if (config.command.length > 0) checkNotEmpty(`${path}.command[0]`, config.command[0]!);
  checkArguments(`${path}.command`, config.command);
  checkArguments(`${path}.args`, config.args);
  for (const [index, variable] of config.envs.entries()) checkVariable(`${path}.envs[${index}]`, variable);
  const words = [...config.command, ...config.args].map((word) => Buffer.byteLength(word));
  const variables = config.envs.map(({ key, value }) => Buffer.byteLength(key) + 1 + value.length);
  checkArgumentSpace(path, [...words, ...variables]);
  checkOptionalAbsolutePath(`${path}.working_dir`, config.workingDir);
}

function checkVariable(path: string, { key, value }: KeyValue): void {
  checkNotEmpty(`${path}.key`, key);
  if (key.includes("=")) invalid(`${path}.key`, `must not contain "=", but is ${shown(key)}`);
  if (value.includes(0)) invalid(`${path}.value`, "must not contain a NUL byte");
  if (!isUtf8(value)) unsupported(`${path}.value`, "values that are not UTF-8 are");
  checkArgumentSize(path, Buffer.byteLength(key) + 1 + value.length);
}

function checkLogPath(path: string, logPath: string): void {
  if (logPath.startsWith("/")) invalid(path, `must be relative to log_directory, but is ${shown(logPath)}`);
  if (logPath.endsWith("/")) invalid(path, `must name a file, but is ${shown(logPath)}`);
  checkPath(path, logPath);
}

function checkMount(path: string, mount: Mount): void {
  checkAbsolutePath(`${path}.container_path`, mount.containerPath);
  if (/^\/[/.]*$/.test(mount.containerPath)) {
    invalid(`${path}.container_path`, `must not be the root, but is ${shown(mount.containerPath)}`);
  }
  checkOutsideProc(`${path}.container_path`, mount);
  if (mount.image === undefined) checkBind(path, mount);
  else checkImageMount(path, mount, mount.image);
  if (mount.recursiveReadOnly) checkRecursiveReadOnly(path, mount);
  checkMountMappings(path, mount);
  checkMountOptions(`${path}.mount_options`, mount.mountOptions);
}

/** A path of the host is the caller's own: it may be anything that the kernel takes. */
function checkHostPath(path: string, value: string): void {
  checkNotEmpty(path, value);
  if (!value.startsWith("/")) invalid(path, `must be an absolute path, but is ${shown(value)}`);
  checkPrintable(path, value);
}

/** What may be covered inside a container's /proc, as the OCI runtimes have it. */
const COVERABLE_IN_PROC: readonly string[] = [
  "/proc/cpuinfo",
  "/proc/diskstats",
  "/proc/loadavg",
  "/proc/meminfo",
  "/proc/net/dev",
  "/proc/slabinfo",
  "/proc/stat",
  "/proc/swaps",
  "/proc/sys/crypto/fips_enabled",
  "/proc/sys/kernel/ns_last_pid",
  "/proc/uptime",
];

/** Elsewhere in /proc are the files by which a process is confined: none of them may be a volume's. */
function checkOutsideProc(path: string, mount: Mount): void {
  const place = placeOf(mount);
  if (!place.startsWith("/proc/") || COVERABLE_IN_PROC.includes(place)) return;
  const names = COVERABLE_IN_PROC.map((name) => name.slice("/proc/".length)).join(", ");
  invalid(path, `must not be inside /proc, other than at ${names}, but is ${shown(mount.containerPath)}`);
}

function placeOf({ containerPath }: Mount): string {
  return posix.normalize(containerPath).replace(/\/$/, "");
}

function checkBind(path: string, mount: Mount): void {
  if (mount.imageSubPath !== "") invalid(`${path}.image_sub_path`, "must not be set without image");
  checkHostPath(`${path}.host_path`, mount.hostPath);
}

function checkImageMount(path: string, mount: Mount, image: ImageSpec): void {
  if (placeOf(mount) === "/proc")
    invalid(`${path}.container_path`, "must not be /proc in a mount of an image");
  if (mount.hostPath !== "") invalid(`${path}.host_path`, "must be empty in a mount of an image");
  if (!mount.readonly) invalid(`${path}.readonly`, "must be true in a mount of an image");
  checkImageName(`${path}.image.image`, image.image);
  checkPath(`${path}.image_sub_path`, mount.imageSubPath);
}

function checkRecursiveReadOnly(path: string, mount: Mount): void {
  if (!mount.readonly) invalid(`${path}.recursive_read_only`, "must not be set without readonly");
  if (mount.propagation !== MountPropagation.PROPAGATION_PRIVATE) {
    invalid(`${path}.recursive_read_only`, "must not be set with a propagation other than private");
  }
}

/** Those that the interface names; a caller sends them where the feature `mount_options` is on. */
const MOUNT_OPTIONS: readonly string[] = ["nodev", "noexec", "nosuid"];

function checkMountOptions(path: string, options: readonly string[]): void {
  for (const [index, option] of options.entries()) {
    if (MOUNT_OPTIONS.includes(option)) continue;
    invalid(`${path}[${index}]`, `must be one of ${MOUNT_OPTIONS.join(", ")}, but is ${shown(option)}`);
  }
}

function checkDevice(path: string, device: Device): void {
  checkHostPath(`${path}.host_path`, device.hostPath);
  checkAbsolutePath(`${path}.container_path`, device.containerPath);
  if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(device.permissions)) {
    invalid(`${path}.permissions`, `must be made of r, w and m, but is ${shown(device.permissions)}`);
  }
}

const MAX_CDI_DEVICES = 4096;

/** Device plugins ask for CDI devices by the field, by an annotation, or by both. */
function checkCdi(path: string, config: ContainerConfig): void {
  const named = config.CDIDevices.map(({ name }, index) => [`CDI_devices[${index}].name`, name] as const);
  const annotated = annotatedDevices(config.annotations).flatMap(([key, names]) =>
    names.map((name) => [`annotations[${key}]`, name] as const),
  );
  const devices = [...named, ...annotated];
  if (devices.length > MAX_CDI_DEVICES) {
    invalid(
      `${path}.CDI_devices`,
      `must not have more than ${MAX_CDI_DEVICES} entries, annotations included`,
    );
  }
  for (const [field, name] of devices) {
    if (isQualifiedName(name)) continue;
    invalid(`${path}.${field}`, `must name a device as in vendor.com/class=name, but is ${shown(name)}`);
  }
}
