// SPDX-License-Identifier: Apache-2.0
import { posix } from "node:path";
import { clone, create, toJsonString } from "@bufbuild/protobuf";
import type { SourcedEdits } from "../cdi/registry.ts";
import type { CdiDeviceNode } from "../cdi/spec.ts";
import { applyCdiEdits } from "../container/cdi.ts";
import { mergeResources } from "../container/merge-resources.ts";
import type { Creation } from "../container/plugins.ts";
import { FailedPreconditionError } from "../errors.ts";
import {
  type ContainerAdjustment,
  ContainerAdjustmentSchema,
  type LinuxDevice,
  type LinuxDeviceCgroup,
} from "../gen/nri/v1alpha1/api_pb.ts";
import {
  ContainerConfigSchema,
  LinuxContainerConfigSchema,
  LinuxContainerResourcesSchema,
  LinuxContainerSecurityContextSchema,
  SecurityProfile_ProfileType,
  SecurityProfileSchema,
} from "../gen/runtime/v1/api_pb.ts";
import type { DeviceRule } from "../linux/cgroup/device-rules.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import { adjustedProcess } from "./adjust-process.ts";
import { fieldsOf, isRemoval, nameOf } from "./fields.ts";
import { refuse, refuseOthers } from "./refusals.ts";
import { criResources } from "./resources.ts";
import { profileName, seccompOf } from "./seccomp-policy.ts";

/** The container as one plugin wants it; `devices` are the edits of the CDI devices that it adds. */
export function adjusted(
  { config, spec }: Creation,
  adjust: ContainerAdjustment,
  plugin: string,
  devices: readonly SourcedEdits[],
): Creation {
  refuseOthers(plugin, fieldsOf(adjust));
  if (toJsonString(ContainerAdjustmentSchema, adjust).includes("\\u0000")) {
    throw new FailedPreconditionError(`NRI plugin ${plugin} sets something with a NUL byte in it`);
  }
  const without = withoutRemoved(spec, adjust);
  const edited = applyCdiEdits(without, [editsOf(adjust, plugin), ...devices]);
  return {
    config: adjustedConfig(config, adjust, plugin),
    spec: {
      ...edited,
      annotations: adjustedAnnotations(edited.annotations, adjust.annotations),
      process: adjustedProcess(edited.process, adjust, plugin),
      linux: adjustedLinux(edited.linux, adjust, plugin),
    },
  };
}

/** Removals come before everything else: what is removed and added anew is replaced. */
function withoutRemoved(spec: RuntimeSpec, adjust: ContainerAdjustment): RuntimeSpec {
  const variables = removedOf(adjust.env.map(({ key }) => key));
  const mounts = removedOf(adjust.mounts.map(({ destination }) => destination)).map(tidy);
  const devices = removedOf((adjust.linux?.devices ?? []).map(({ path }) => path)).map(tidy);
  return {
    ...spec,
    process: {
      ...spec.process,
      env: spec.process.env.filter((entry) => !variables.includes(entry.split("=", 1)[0] ?? "")),
    },
    mounts: spec.mounts.filter(({ destination }) => !mounts.includes(tidy(destination))),
    linux: { ...spec.linux, devices: spec.linux.devices.filter(({ path }) => !devices.includes(tidy(path))) },
  };
}

function removedOf(names: readonly string[]): string[] {
  return names.filter(isRemoval).map(nameOf);
}

function tidy(path: string): string {
  return posix.normalize(path).replace(/(.)\/$/, "$1");
}

/** What a plugin adds is of the same kinds as what a CDI device brings. */
function editsOf(adjust: ContainerAdjustment, plugin: string): SourcedEdits {
  const added = adjust.linux?.devices.filter(({ path }) => !isRemoval(path)) ?? [];
  return {
    file: `NRI plugin ${plugin}`,
    edits: {
      env: adjust.env.filter(({ key }) => !isRemoval(key)).map((entry) => variableOf(entry, plugin)),
      deviceNodes: added.map((device) => nodeOf(device, plugin)),
      mounts: adjust.mounts
        .filter(({ destination }) => !isRemoval(destination))
        .map(({ destination, source, type, options }) => {
          if (!destination.startsWith("/"))
            refuse(plugin, `mounts[${destination}]`, "it is no absolute path");
          return { containerPath: destination, hostPath: source, type, options };
        }),
      hooks: [],
      additionalGids: [],
      netDevices: [],
    },
  };
}

function variableOf({ key, value }: { key: string; value: string }, plugin: string): string {
  if (key === "" || key.includes("=")) refuse(plugin, `env[${key}]`, "it is no name of a variable");
  return `${key}=${value}`;
}

function nodeOf(device: LinuxDevice, plugin: string): CdiDeviceNode {
  const { path, type, major, minor, fileMode, uid, gid } = device;
  const at = `linux.devices[${path}]`;
  if (!path.startsWith("/")) refuse(plugin, at, "it is no absolute path");
  if (type !== "b" && type !== "c" && type !== "u")
    refuse(plugin, at, `its type is ${JSON.stringify(type)}, not b or c`);
  return {
    path,
    type,
    major: Number(major),
    minor: Number(minor),
    permissions: "rwm",
    ...(fileMode === undefined ? {} : { fileMode: fileMode.value & 0o7777 }),
    uid: uid?.value ?? 0,
    gid: gid?.value ?? 0,
  };
}

function adjustedAnnotations(
  current: Readonly<Record<string, string>>,
  changes: Readonly<Record<string, string>>,
): Record<string, string> {
  const removed = removedOf(Object.keys(changes));
  const kept = Object.entries(current).filter(([name]) => !removed.includes(name));
  return Object.fromEntries([...kept, ...Object.entries(changes).filter(([name]) => !isRemoval(name))]);
}

function adjustedLinux(
  linux: RuntimeSpec["linux"],
  adjust: ContainerAdjustment,
  plugin: string,
): RuntimeSpec["linux"] {
  const { pids: currentPids, ...resources } = linux.resources;
  const asked = adjust.linux?.resources;
  const limit = asked?.pids === undefined ? currentPids?.limit : Number(asked.pids.limit);
  const rules = (asked?.devices ?? []).map((rule) => ruleOf(rule, plugin));
  const policy = adjust.linux?.seccompPolicy;
  return {
    ...linux,
    resources: {
      ...resources,
      devices: [...(resources.devices ?? []), ...rules],
      // As in the OCI configuration, 0 and -1 stand for no limit.
      ...(limit === undefined || limit <= 0 ? {} : { pids: { limit } }),
    },
    ...(policy === undefined ? {} : { seccomp: seccompOf(policy, plugin) }),
  };
}

function ruleOf({ allow, type, major, minor, access }: LinuxDeviceCgroup, plugin: string): DeviceRule {
  if (type !== "a" && type !== "b" && type !== "c") {
    refuse(plugin, "linux.resources.devices", `a type is ${JSON.stringify(type)}, not a, b or c`);
  }
  return { allow, type, major: Number(major?.value ?? -1n), minor: Number(minor?.value ?? -1n), access };
}

function adjustedConfig(
  current: Creation["config"],
  { linux }: ContainerAdjustment,
  plugin: string,
): Creation["config"] {
  if (linux === undefined) return current;
  const config = clone(ContainerConfigSchema, current);
  const changed = config.linux ?? create(LinuxContainerConfigSchema);
  config.linux = changed;
  if (linux.resources !== undefined) {
    changed.resources = mergeResources(changed.resources, criResources(linux.resources));
  }
  if (linux.oomScoreAdj !== undefined) {
    changed.resources ??= create(LinuxContainerResourcesSchema);
    changed.resources.oomScoreAdj = linux.oomScoreAdj.value;
  }
  if (linux.seccompPolicy !== undefined) {
    const security = changed.securityContext ?? create(LinuxContainerSecurityContextSchema);
    changed.securityContext = security;
    if (security.privileged) refuse(plugin, "linux.seccomp_policy", "the container is privileged");
    security.seccomp = create(SecurityProfileSchema, {
      profileType: SecurityProfile_ProfileType.Localhost,
      localhostRef: profileName(plugin),
    });
  }
  return config;
}
