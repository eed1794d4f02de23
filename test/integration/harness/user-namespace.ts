// SPDX-License-Identifier: Apache-2.0
import { fstatSync } from "node:fs";
import { NamespaceMode } from "../../../src/gen/runtime/v1/api_pb.ts";
import { Fd } from "../../../src/linux/fd.ts";
import { openNamespace } from "../../../src/linux/namespace.ts";
import { syscall } from "../../../src/linux/syscall.ts";
import type { Daemon } from "./daemon.ts";
import {
  type ContainerConfig,
  createContainer,
  runContainer,
  runSandbox,
  type SandboxConfig,
  type SecurityContext,
} from "./pods.ts";
import type { NamespaceKind } from "./proc.ts";

/** What the pods of these tests map: root is the host's user 1000. */
export const mapping = [{ containerId: 0, hostId: 1000, length: 100_000 }];
export const firstId = 1000;

const { POD, CONTAINER } = NamespaceMode;

export interface Modes {
  readonly network?: NamespaceMode;
  readonly pid?: NamespaceMode;
  readonly targetId?: string;
}

function inUserNamespace(context: SecurityContext, modes: Modes) {
  const usernsOptions = { mode: POD, uids: mapping, gids: mapping };
  const namespaceOptions = { pid: CONTAINER, ...modes, usernsOptions };
  return { securityContext: { namespaceOptions, ...context } as SecurityContext };
}

export function runMappedSandbox(
  daemon: Daemon,
  name: string,
  modes: Modes = {},
  { linux = {}, ...more }: SandboxConfig = {},
): Promise<string> {
  const config = { ...more, linux: { ...linux, ...inUserNamespace({}, modes) } };
  return runSandbox(daemon, name, config as SandboxConfig);
}

export type MappedContainer = Omit<ContainerConfig, "linux"> & {
  readonly name: string;
  readonly security?: SecurityContext;
  readonly modes?: Modes;
};

function configOf({ security = {}, modes = {}, ...config }: MappedContainer) {
  return { ...config, linux: inUserNamespace(security, modes) } as ContainerConfig & { name: string };
}

export function runMapped(daemon: Daemon, sandboxId: string, config: MappedContainer): Promise<string> {
  return runContainer(daemon, sandboxId, configOf(config));
}

export function createMapped(daemon: Daemon, sandboxId: string, config: MappedContainer): Promise<string> {
  return createContainer(daemon, sandboxId, configOf(config));
}

/** ioctl_ns(2): the inode of the user namespace that a namespace of a process belongs to. */
export function ownerOf(pid: number, kind: NamespaceKind): string {
  const NS_GET_USERNS = 0xb701;
  using namespace = openNamespace(pid, kind);
  using owner = new Fd(syscall("ioctl", namespace.number, NS_GET_USERNS, 0));
  return String(fstatSync(owner.number).ino);
}
