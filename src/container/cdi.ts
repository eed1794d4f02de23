// SPDX-License-Identifier: Apache-2.0
import { realpathSync } from "node:fs";
import { posix } from "node:path";
import { annotatedDevices } from "../cdi/device-name.ts";
import { readCdiRegistry, type SourcedEdits } from "../cdi/registry.ts";
import type { CdiDeviceNode, CdiEdits, CdiMount } from "../cdi/spec.ts";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import type { ContainerConfig } from "../gen/runtime/v1/api_pb.ts";
import { isBindOption } from "../launch/mounts.ts";
import type { DeviceRule } from "../linux/cgroup/device-rules.ts";
import type { RuntimeDevice, RuntimeMount, RuntimeProcess, RuntimeSpec } from "../oci/runtime-spec.ts";
import { readDevice } from "./device-spec.ts";
import type { Runtime } from "./runtime.ts";

/** What the devices that a container names ask for; the files are read anew each time, since plugins write them. */
export async function cdiEdits(runtime: Runtime, config: ContainerConfig): Promise<SourcedEdits[]> {
  const annotated = annotatedDevices(config.annotations).flatMap(([, names]) => names);
  return editsOf(runtime, [...new Set([...config.CDIDevices.map(({ name }) => name), ...annotated])]);
}

/** The same for devices with these qualified names. */
export async function editsOf(runtime: Runtime, names: readonly string[]): Promise<SourcedEdits[]> {
  if (names.length === 0) return [];
  const registry = await readCdiRegistry(runtime.config.cdi.spec_dirs);
  for (const problem of registry.problems) runtime.log.warn({ problem }, "a CDI specification is left out");
  const edits = registry.editsFor(names);
  for (const { file, edits: asked } of edits) refuseOthers(file, asked);
  return edits;
}

function refuseOthers(file: string, { hooks, intelRdt, netDevices }: CdiEdits): void {
  const refuse = (what: string): never => {
    throw new FailedPreconditionError(`${file}: the device cannot be used, since ${what}`);
  };
  const [hook] = hooks;
  if (hook !== undefined) {
    refuse(
      `it needs the ${hook.hookName} hook ${hook.path}, and podrt executes no program of the host's; describe it without hooks`,
    );
  }
  if (intelRdt !== undefined) refuse("it needs intelRdt, which podrt does not do");
  if (netDevices.length > 0) refuse("it needs netDevices, which podrt does not do");
}

/** The configuration with the edits made, as the CDI specification has them made. */
export function applyCdiEdits(spec: RuntimeSpec, edits: readonly SourcedEdits[]): RuntimeSpec {
  return edits.reduce(applyOne, spec);
}

function applyOne(spec: RuntimeSpec, { file, edits }: SourcedEdits): RuntimeSpec {
  const { process, linux } = spec;
  const nodes = edits.deviceNodes.map((node) => resolveNode(node, process, file));
  const mounts = edits.mounts.map((mount) => resolveMount(mount, file));
  return {
    ...spec,
    process: {
      ...process,
      env: withVariables(process.env, edits.env),
      user: {
        ...process.user,
        additionalGids: withGroups(process.user.additionalGids, edits.additionalGids),
      },
    },
    mounts: replacing(spec.mounts, mounts, ({ destination }) => destination),
    linux: {
      ...linux,
      devices: replacing(
        linux.devices,
        nodes.map(({ device }) => device),
        ({ path }) => path,
      ),
      resources: {
        ...linux.resources,
        devices: [...(linux.resources.devices ?? []), ...nodes.map(({ rule }) => rule)],
      },
    },
  };
}

/** `added` after what is left of `items`; of those with the same key the last one stays. */
function replacing<T>(items: readonly T[], added: readonly T[], keyOf: (item: T) => string): T[] {
  const all = [...items, ...added];
  const keys = new Set(added.map(keyOf));
  return all.filter((item, index) => {
    const key = keyOf(item);
    return !keys.has(key) || all.findLastIndex((other) => keyOf(other) === key) === index;
  });
}

function withVariables(env: readonly string[], added: readonly string[]): string[] {
  const byName = new Map([...env, ...added].map((entry) => [entry.split("=", 1)[0] ?? entry, entry]));
  return [...byName.values()];
}

/** Zero is ignored, as the specification asks. */
function withGroups(groups: readonly number[], added: readonly number[]): number[] {
  return [...new Set([...groups, ...added.filter((gid) => gid !== 0)])].sort((a, b) => a - b);
}

const DEFAULT_MODE = 0o666;

/** What a node does not say is taken from the host's, its owner from the process that is to use it. */
function resolveNode(
  node: CdiDeviceNode,
  { user }: RuntimeProcess,
  file: string,
): { device: RuntimeDevice; rule: DeviceRule } {
  const { type, major, minor } = numbersOf(node, file);
  const device = {
    path: posix.normalize(node.path),
    type,
    major,
    minor,
    fileMode: node.fileMode ?? DEFAULT_MODE,
    uid: node.uid ?? user.uid,
    gid: node.gid ?? user.gid,
  };
  return { device, rule: { allow: true, type, major, minor, access: node.permissions ?? "rwm" } };
}

function numbersOf(node: CdiDeviceNode, file: string): { type: "b" | "c"; major: number; minor: number } {
  const source = node.hostPath ?? node.path;
  if (node.type === "p") {
    throw new FailedPreconditionError(
      `${file}: ${node.path} is a named pipe, which podrt makes for no container`,
    );
  }
  const type = node.type === "u" ? "c" : node.type;
  // Without a major number there is no device: zero stands for "as on the host".
  if (type !== undefined && node.major !== undefined && node.major !== 0) {
    return { type, major: node.major, minor: node.minor ?? 0 };
  }
  const found = hostDevice(source, file);
  if (type !== undefined && type !== found.type) {
    throw new FailedPreconditionError(
      `${file}: ${source} is to be a device of type ${type}, but is one of type ${found.type}`,
    );
  }
  return found;
}

function hostDevice(source: string, file: string): RuntimeDevice {
  let device: RuntimeDevice | undefined;
  try {
    device = readDevice(realpathSync(source), source);
  } catch (error) {
    throw new FailedPreconditionError(`${file}: cannot use the device ${source}: ${messageOf(error)}`);
  }
  if (device === undefined) throw new FailedPreconditionError(`${file}: ${source} is no device`);
  return device;
}

/** A bind of the host's; what it is made of must be there, unlike the source of a caller's own mount. */
function resolveMount({ hostPath, containerPath, type, options }: CdiMount, file: string): RuntimeMount {
  const what = `${file}: the mount on ${containerPath}`;
  const isBind = options.includes("bind") || options.includes("rbind");
  if (!isBind && type !== undefined && type !== "" && type !== "bind") {
    throw new FailedPreconditionError(`${what} is of type ${type}, and podrt mounts only binds for a device`);
  }
  const unknown = options.find((option) => !isBindOption(option));
  if (unknown !== undefined) {
    throw new FailedPreconditionError(
      `${what} has the option ${JSON.stringify(unknown)}, which podrt does not honour`,
    );
  }
  try {
    const destination = posix.normalize(containerPath).replace(/\/$/, "");
    if (destination === "" || destination === "/proc" || destination.startsWith("/proc/")) {
      throw new FailedPreconditionError("nothing of a device's may be there");
    }
    if (!hostPath.startsWith("/")) throw new FailedPreconditionError(`${hostPath} is no absolute path`);
    return {
      destination,
      type: "bind",
      source: realpathSync(hostPath),
      options: isBind ? options : ["rbind", ...options],
    };
  } catch (error) {
    throw new FailedPreconditionError(`${what} cannot be made: ${messageOf(error)}`, { cause: error });
  }
}
