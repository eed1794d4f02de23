// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { type ContainerConfig, NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import type { Fd } from "../linux/fd.ts";
import { type ProcessIdentity, pin } from "../linux/process.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import type { Runtime } from "./runtime.ts";
import { containerState } from "./status.ts";

/** The pid namespace of a container by its mode, as its configuration has it: a path, `host`, or undefined for a new one. */
export function pidNamespace(
  runtime: Runtime,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): string | undefined | "host" {
  if (modeOf(config) === NamespaceMode.NODE) return "host";
  const member = memberProcess(runtime, sandbox, config);
  return member && `/proc/${member.pid}/ns/pid`;
}

/**
 * A pidfd of a member of the pid namespace that a container joins; undefined for one that joins none. What was
 * there at creation may have ended meanwhile, and another process have its number.
 */
export function openPidNamespace(
  runtime: Runtime,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): Fd | undefined {
  const member = memberProcess(runtime, sandbox, config);
  if (member === undefined) return undefined;
  const pidfd = pin(member);
  if (pidfd !== undefined) return pidfd;
  throw new FailedPreconditionError(
    `cannot join the pid namespace of process ${member.pid} in sandbox ${sandbox.id}: it has just ended`,
  );
}

/** Who says nothing gets what the interface's zero value says. */
function modeOf(config: ContainerConfig): NamespaceMode {
  return config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.POD;
}

function memberProcess(
  runtime: Runtime,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): ProcessIdentity | undefined {
  switch (modeOf(config)) {
    case NamespaceMode.POD:
      return sandbox.pause;
    case NamespaceMode.TARGET:
      return targetProcess(runtime, sandbox, config.linux?.securityContext?.namespaceOptions?.targetId ?? "");
    default:
      return undefined;
  }
}

/** A target must be running and of the same sandbox. */
function targetProcess(runtime: Runtime, sandbox: SandboxRecord, targetId: string): ProcessIdentity {
  const target = runtime.containers.get(targetId);
  if (
    target?.process !== undefined &&
    target.sandboxId === sandbox.id &&
    containerState(target) === "running"
  ) {
    return target.process;
  }
  throw new FailedPreconditionError(
    `cannot join the pid namespace of container ${targetId}: it is not running in sandbox ${sandbox.id}`,
  );
}
