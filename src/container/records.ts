// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { dirname } from "node:path";
import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  type ContainerConfig,
  ContainerConfigSchema,
  type PodSandboxConfig,
  PodSandboxConfigSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { JsonText } from "../lib/json-text.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord, ScopeName } from "../state/sandboxes.ts";
import { sliceCgroup } from "../systemd/unit-name.ts";

// By the JSON that a record holds: decoded once for as long as that stays parsed.
const containerConfigs = new WeakMap<object, ContainerConfig>();
const sandboxConfigs = new WeakMap<object, PodSandboxConfig>();

/** The configuration that CreateContainer was given, with its resources as they are now. */
export function containerConfig(record: ContainerRecord): ContainerConfig {
  const json = record.config.value;
  const known = containerConfigs.get(json);
  if (known !== undefined) return known;
  const config = fromJson(ContainerConfigSchema, json as JsonValue, { ignoreUnknownFields: true });
  containerConfigs.set(json, config);
  return config;
}

/** A container's configuration as its record keeps it; the message is not to be changed any more. */
export function keptContainerConfig(config: ContainerConfig): JsonText<object> {
  const json = toJson(ContainerConfigSchema, config) as object;
  containerConfigs.set(json, config);
  return new JsonText(json);
}

/** A sandbox's configuration as its record keeps it; the message is not to be changed any more. */
export function keptSandboxConfig(config: PodSandboxConfig): JsonText<object> {
  const json = toJson(PodSandboxConfigSchema, config) as object;
  sandboxConfigs.set(json, config);
  return new JsonText(json);
}

/** The configuration that RunPodSandbox was given, with its overhead and resources as they are now. */
export function sandboxConfig(record: SandboxRecord): PodSandboxConfig {
  const json = record.config.value;
  const known = sandboxConfigs.get(json);
  if (known !== undefined) return known;
  const config = fromJson(PodSandboxConfigSchema, json as JsonValue, { ignoreUnknownFields: true });
  sandboxConfigs.set(json, config);
  return config;
}

/** The path of a scope's cgroup, where systemd has the machine's whole cgroup tree. */
export function cgroupOfScope({ name, slice }: ScopeName): string {
  return `${sliceCgroup(slice)}/${name}`;
}

/** The cgroup that limits the whole pod: the one its caller named, or podrt's choice. */
export function podCgroup({ cgroupPath, ownsCgroupParent, scope }: SandboxRecord): string {
  return dirname(scope === undefined || ownsCgroupParent ? cgroupPath : cgroupOfScope(scope));
}

/** The annotation of a container that is nobody's once a daemon after this one takes up its pod. */
export const EPHEMERAL_ANNOTATION = "podrt.ephemeral";

/** Whether whoever had it made was to remove it, over a connection that no later daemon has. */
export function isEphemeral(record: ContainerRecord): boolean {
  return containerConfig(record).annotations[EPHEMERAL_ANNOTATION] === "true";
}

/** The resolved launch of a container. */
export function specOf(record: ContainerRecord): RuntimeSpec {
  return record.runtimeSpec.value as RuntimeSpec;
}

/** The tag under which the monitor's journal knows a container's first process: 48 bits of its id. */
export function launchTag(containerId: string): number {
  return Number.parseInt(containerId.slice(0, 12), 16) + 16;
}

// Above every container's tag, and still exact in a double.
const FIRST_EXEC_TAG = 2 ** 50;
const EXEC_TAGS = 2 ** 48 - 1;

/** A tag for what else is launched for a container: an exec, a criu. The end of an earlier one may yet be reported. */
export function newExecTag(): number {
  return FIRST_EXEC_TAG + randomInt(EXEC_TAGS);
}

/** The tag of a sandbox's pause; smaller than any container's. */
export const PAUSE_TAG = 1;
