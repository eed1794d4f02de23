// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ContainerConfigSchema,
  ContainerState,
  type ContainerStatus,
  type LinuxContainerSecurityContextSchema,
  type PodSandboxConfigSchema,
  type PodSandboxStatus,
} from "../../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";

export type SandboxConfig = MessageInitShape<typeof PodSandboxConfigSchema>;
export type ContainerConfig = MessageInitShape<typeof ContainerConfigSchema>;
export type SecurityContext = MessageInitShape<typeof LinuxContainerSecurityContextSchema>;

export const busybox = "docker.io/library/busybox:latest";
export const nginx = "docker.io/library/nginx:latest";

const NAMESPACE_CONTAINER = 1;

/** A sandbox as a kubelet asks for it: containers with process namespaces of their own unless told otherwise. */
export async function runSandbox(daemon: Daemon, name: string, more: SandboxConfig = {}): Promise<string> {
  const config = {
    metadata: { name, namespace: "default", uid: `uid-${name}` },
    linux: { securityContext: { namespaceOptions: { pid: NAMESPACE_CONTAINER } } },
    ...more,
  } as SandboxConfig;
  return (await daemon.api.runPodSandbox({ config })).podSandboxId;
}

/** The `linux` part of a container's configuration: a process namespace of its own, and what is asked. */
export function secured(securityContext: SecurityContext): { readonly linux: ContainerConfig["linux"] } {
  const namespaceOptions = { pid: NAMESPACE_CONTAINER };
  return { linux: { securityContext: { namespaceOptions, ...securityContext } as SecurityContext } };
}

/** Pulls the image where it is not there, creates the container and starts it; answers its id. */
export async function runContainer(
  daemon: Daemon,
  sandboxId: string,
  config: ContainerConfig & { readonly name: string },
): Promise<string> {
  const id = await createContainer(daemon, sandboxId, config);
  await daemon.api.startContainer({ containerId: id });
  return id;
}

export async function createContainer(
  daemon: Daemon,
  sandboxId: string,
  { name, ...config }: ContainerConfig & { readonly name: string },
): Promise<string> {
  const image = config.image?.image ?? busybox;
  await ensureImage(daemon, image);
  const request = {
    podSandboxId: sandboxId,
    config: {
      metadata: { name },
      image: { image },
      command: ["sleep", "3600"],
      linux: { securityContext: { namespaceOptions: { pid: NAMESPACE_CONTAINER } } },
      ...config,
    },
  };
  return (await daemon.api.createContainer(request as never)).containerId;
}

export async function ensureImage(daemon: Daemon, image: string): Promise<void> {
  const { image: known } = await daemon.api.imageStatus({ image: { image } });
  if (known === undefined) await daemon.api.pullImage({ image: { image } });
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function execIn(
  daemon: Daemon,
  containerId: string,
  ...cmd: readonly string[]
): Promise<ExecResult> {
  const reply = await daemon.api.execSync({ containerId, cmd: [...cmd], timeout: 30n });
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
  return { code: reply.exitCode, stdout: text(reply.stdout), stderr: text(reply.stderr) };
}

/** A shell line in a container that must succeed; answers its output without the last newline. */
export async function shellIn(daemon: Daemon, containerId: string, line: string): Promise<string> {
  const { code, stdout, stderr } = await execIn(daemon, containerId, "sh", "-c", line);
  if (code !== 0) throw new Error(`in ${containerId}: ${line}: exited with ${code}: ${stderr}${stdout}`);
  return stdout.replace(/\n$/, "");
}

export async function containerStatus(daemon: Daemon, containerId: string): Promise<ContainerStatus> {
  return (await daemon.api.containerStatus({ containerId })).status!;
}

export async function sandboxStatus(daemon: Daemon, podSandboxId: string): Promise<PodSandboxStatus> {
  return (await daemon.api.podSandboxStatus({ podSandboxId })).status!;
}

/** The verbose part of a status: what `crictl inspect` shows under `info`. */
export async function containerInfo(daemon: Daemon, containerId: string): Promise<Record<string, unknown>> {
  const { info } = await daemon.api.containerStatus({ containerId, verbose: true });
  return JSON.parse(info["info"] ?? "{}") as Record<string, unknown>;
}

export async function sandboxInfo(daemon: Daemon, podSandboxId: string): Promise<Record<string, unknown>> {
  const { info } = await daemon.api.podSandboxStatus({ podSandboxId, verbose: true });
  return JSON.parse(info["info"] ?? "{}") as Record<string, unknown>;
}

export async function containerPid(daemon: Daemon, containerId: string): Promise<number> {
  return Number((await containerInfo(daemon, containerId))["pid"]);
}

export async function pausePid(daemon: Daemon, sandboxId: string): Promise<number> {
  return Number((await sandboxInfo(daemon, sandboxId))["pid"]);
}

/** Waits until the container has ended; answers its status. */
export async function exited(
  daemon: Daemon,
  containerId: string,
  timeoutMs = 10_000,
): Promise<ContainerStatus> {
  return eventually(
    `container ${containerId.slice(0, 13)} has ended`,
    async () => {
      const status = await containerStatus(daemon, containerId);
      return status.state === ContainerState.CONTAINER_EXITED ? status : undefined;
    },
    timeoutMs,
  );
}
