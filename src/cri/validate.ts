// SPDX-License-Identifier: Apache-2.0
import type { DescEnum, DescField, DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { OWN_HANDLERS } from "../container/oci/handler.ts";
import {
  AttachRequestSchema,
  CheckpointContainerRequestSchema,
  CheckpointPodRequestSchema,
  ContainerStatsRequestSchema,
  ContainerStatusRequestSchema,
  CreateContainerRequestSchema,
  ExecRequestSchema,
  ExecSyncRequestSchema,
  type ImageSpec,
  ImageStatusRequestSchema,
  PodSandboxStatsRequestSchema,
  PodSandboxStatusRequestSchema,
  PortForwardRequestSchema,
  PullImageRequestSchema,
  RemoveContainerRequestSchema,
  RemoveImageRequestSchema,
  RemovePodSandboxRequestSchema,
  ReopenContainerLogRequestSchema,
  RestorePodRequestSchema,
  RunPodSandboxRequestSchema,
  StartContainerRequestSchema,
  StopContainerRequestSchema,
  StopPodSandboxRequestSchema,
  UpdateContainerResourcesRequestSchema,
  UpdatePodSandboxResourcesRequestSchema,
  UpdateRuntimeConfigRequestSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { checkCheckpointContainer, checkCheckpointPod, checkRestorePod } from "./validate-checkpoint.ts";
import { checkCidrs } from "./validate-cidr.ts";
import { checkContainerConfig } from "./validate-container.ts";
import {
  checkAnnotations,
  checkCommand,
  checkImageName,
  checkInteger,
  checkNotEmpty,
  invalid,
  required,
  shown,
  unsupported,
} from "./validate-fields.ts";
import { checkResources } from "./validate-resources.ts";
import { checkSandboxConfig } from "./validate-sandbox.ts";
import { checkTextSize, MAX_ENTRIES } from "./validate-size.ts";

/** Far above what any client forwards at once; each is a channel of its own in the oldest protocol. */
const MAX_PORTS = 100;

/** What each request must satisfy beyond what holds for every message; by the full name of its type. */
const CHECKS: ReadonlyMap<string, (message: Message) => void> = new Map([
  rule(RunPodSandboxRequestSchema, (request) => {
    checkSandboxConfig("config", required("config", request.config));
  }),
  rule(StopPodSandboxRequestSchema, (request) => checkNotEmpty("pod_sandbox_id", request.podSandboxId)),
  rule(RemovePodSandboxRequestSchema, (request) => checkNotEmpty("pod_sandbox_id", request.podSandboxId)),
  rule(PodSandboxStatusRequestSchema, (request) => checkNotEmpty("pod_sandbox_id", request.podSandboxId)),
  rule(CreateContainerRequestSchema, (request) => {
    checkNotEmpty("pod_sandbox_id", request.podSandboxId);
    checkContainerConfig("config", required("config", request.config));
  }),
  rule(StartContainerRequestSchema, (request) => checkNotEmpty("container_id", request.containerId)),
  rule(StopContainerRequestSchema, (request) => checkNotEmpty("container_id", request.containerId)),
  rule(RemoveContainerRequestSchema, (request) => checkNotEmpty("container_id", request.containerId)),
  rule(ContainerStatusRequestSchema, (request) => checkNotEmpty("container_id", request.containerId)),
  rule(ContainerStatsRequestSchema, (request) => checkNotEmpty("container_id", request.containerId)),
  rule(PodSandboxStatsRequestSchema, (request) => checkNotEmpty("pod_sandbox_id", request.podSandboxId)),
  rule(UpdateContainerResourcesRequestSchema, (request) => {
    checkNotEmpty("container_id", request.containerId);
    if (request.windows !== undefined) unsupported("windows", "Windows containers are");
    if (request.linux !== undefined) checkResources("linux", request.linux);
    checkAnnotations("annotations", request.annotations);
  }),
  rule(UpdatePodSandboxResourcesRequestSchema, (request) => {
    checkNotEmpty("pod_sandbox_id", request.podSandboxId);
    if (request.overhead !== undefined) checkResources("overhead", request.overhead);
    if (request.resources !== undefined) checkResources("resources", request.resources);
  }),
  rule(UpdateRuntimeConfigRequestSchema, (request) => {
    checkCidrs("runtime_config.network_config.pod_cidr", request.runtimeConfig?.networkConfig?.podCidr ?? "");
  }),
  rule(ReopenContainerLogRequestSchema, (request) => checkNotEmpty("container_id", request.containerId)),
  rule(ExecSyncRequestSchema, (request) => {
    checkNotEmpty("container_id", request.containerId);
    checkCommand("cmd", request.cmd);
    if (request.timeout < 0n) invalid("timeout", `must not be negative, but is ${request.timeout}`);
  }),
  rule(CheckpointContainerRequestSchema, checkCheckpointContainer),
  rule(CheckpointPodRequestSchema, checkCheckpointPod),
  rule(RestorePodRequestSchema, checkRestorePod),
  rule(ExecRequestSchema, (request) => {
    checkNotEmpty("container_id", request.containerId);
    checkCommand("cmd", request.cmd);
    checkStreams(request);
  }),
  rule(AttachRequestSchema, (request) => {
    checkNotEmpty("container_id", request.containerId);
    checkStreams(request);
  }),
  rule(PortForwardRequestSchema, (request) => {
    checkNotEmpty("pod_sandbox_id", request.podSandboxId);
    if (request.port.length > MAX_PORTS) {
      invalid("port", `must not have more than ${MAX_PORTS} entries, but has ${request.port.length}`);
    }
    for (const [index, port] of request.port.entries()) checkInteger(`port[${index}]`, port, 1, 65_535);
  }),
  rule(PullImageRequestSchema, (request) => checkImage(request.image)),
  rule(ImageStatusRequestSchema, (request) => checkImage(request.image)),
  rule(RemoveImageRequestSchema, (request) => checkImage(request.image)),
]);

/**
 * The one place where requests are checked, before anything is looked up or made.
 *
 * Throws an InvalidArgumentError with the path of the field as the interface spells it, or an
 * UnimplementedError naming a field that podrt does not honour yet. `handlers` are the names of the runtime
 * handlers.
 */
export function validateRequest(type: DescMessage, message: Message, handlers = OWN_HANDLERS): void {
  checkMessage(type, message, "", handlers);
  CHECKS.get(type.typeName)?.(message);
}

function rule<D extends DescMessage>(
  type: D,
  verify: (message: MessageShape<D>) => void,
): [string, (message: Message) => void] {
  return [type.typeName, (message) => verify(message as MessageShape<D>)];
}

function checkStreams(request: { tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean }): void {
  if (request.tty && request.stderr) invalid("stderr", "a terminal has no stderr of its own");
  if (!request.stdin && !request.stdout && !request.stderr) {
    invalid("stdout", "at least one of stdin, stdout and stderr must be asked for");
  }
}

function checkImage(image: ImageSpec | undefined): void {
  checkImageName("image.image", required("image", image).image);
}

/**
 * What holds everywhere: no NUL in text, no unknown enum value (proto3 lets them pass), bounded texts and lists, and
 * no runtime handler that there is not.
 */
function checkMessage(type: DescMessage, message: Message, path: string, handlers: readonly string[]): void {
  for (const field of type.fields) {
    const value = fieldValue(field, message);
    if (value !== undefined) {
      checkField(field, value, path === "" ? field.name : `${path}.${field.name}`, handlers);
    }
  }
}

function fieldValue(field: DescField, message: Message): unknown {
  const values = message as unknown as Record<string, unknown>;
  if (field.oneof === undefined) return values[field.localName];
  const choice = values[field.oneof.localName] as { case?: string; value?: unknown };
  return choice.case === field.localName ? choice.value : undefined;
}

function checkField(field: DescField, value: unknown, path: string, handlers: readonly string[]): void {
  switch (field.fieldKind) {
    case "list": {
      const items = value as readonly unknown[];
      checkCount(path, items.length);
      for (const [index, item] of items.entries()) checkValue(field, item, `${path}[${index}]`, handlers);
      return;
    }
    case "map": {
      const entries = Object.entries(value as Record<string, unknown>);
      checkCount(path, entries.length);
      for (const [key, item] of entries) {
        checkText(undefined, `${path} key`, key);
        checkValue(field, item, `${path}[${key}]`, handlers);
      }
      return;
    }
    default:
      checkValue(field, value, path, handlers);
  }
}

function checkValue(field: DescField, value: unknown, path: string, handlers: readonly string[]): void {
  if (field.message !== undefined) checkMessage(field.message, value as Message, path, handlers);
  else if (field.enum !== undefined) checkEnum(field.enum, value as number, path);
  else if (typeof value === "string") {
    checkText(field, path, value);
    if (field.name === "runtime_handler") checkRuntimeHandler(path, value, handlers);
  }
}

function checkRuntimeHandler(path: string, handler: string, handlers: readonly string[]): void {
  if (handlers.includes(handler)) return;
  const others = handlers.slice(OWN_HANDLERS.length).map(shown);
  const has = ['"podrt", which is also the default', ...others].join(", and ");
  invalid(path, `there is no runtime handler ${shown(handler)}; podrt has ${has}`);
}

/** `field` is undefined for the key of a map, which is a name whatever the field is. */
function checkText(field: DescField | undefined, path: string, text: string): void {
  checkTextSize(field, path, text);
  if (text.includes("\0")) invalid(path, "must not contain a NUL byte");
}

function checkEnum(type: DescEnum, value: number, path: string): void {
  if (type.value[value] === undefined) invalid(path, `${value} is no value of ${type.name}`);
}

function checkCount(path: string, count: number): void {
  if (count > MAX_ENTRIES) invalid(path, `must not have more than ${MAX_ENTRIES} entries, but has ${count}`);
}
