// SPDX-License-Identifier: Apache-2.0
import {
  ContainerState,
  NamespaceMode,
  type PodSandboxNetworkStatus,
  PodSandboxState,
} from "../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "../integration/harness/daemon.ts";

/** What the interface says is there: what the machine is compared with. */
export interface Expected {
  readonly sandboxes: readonly ExpectedSandbox[];
  readonly containers: readonly ExpectedContainer[];
  /** Ids of images: digests of their configurations. */
  readonly images: readonly string[];
}

export interface ExpectedSandbox {
  readonly id: string;
  readonly name: string;
  readonly isReady: boolean;
  readonly hasNetwork: boolean;
  /** The primary first. */
  readonly addresses: readonly string[];
  /** Its network is of plugins' making. */
  readonly isPlugged: boolean;
  readonly pausePid: number;
}

export interface ExpectedContainer {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  readonly state: "created" | "running" | "exited" | "unknown";
  readonly exitCode: number;
  readonly reason: string;
  readonly pid: number;
  readonly image: string;
  /** The limit of its memory; 0 for none. */
  readonly memoryBytes: number;
}

const STATES: Readonly<Record<number, ExpectedContainer["state"]>> = {
  [ContainerState.CONTAINER_CREATED]: "created",
  [ContainerState.CONTAINER_RUNNING]: "running",
  [ContainerState.CONTAINER_EXITED]: "exited",
};

interface Info {
  readonly pid?: number;
  readonly cniResult?: object;
}

function infoIn(info: Readonly<Record<string, string>>): Info {
  return JSON.parse(info["info"] ?? "{}") as Info;
}

function addressesIn(network: PodSandboxNetworkStatus | undefined): string[] {
  const { ip = "", additionalIps = [] } = network ?? {};
  return [ip, ...additionalIps.map((other) => other.ip)].filter((address) => address !== "");
}

/** Asks the daemon for its lists and the status of each thing in them. */
export async function askExpected({ api }: Daemon): Promise<Expected> {
  const [sandboxes, containers, images] = await Promise.all([
    api.listPodSandbox({}),
    api.listContainers({}),
    api.listImages({}),
  ]);
  return {
    sandboxes: await Promise.all(
      sandboxes.items.map(async ({ id, metadata, state }) => {
        const { status, info } = await api.podSandboxStatus({ podSandboxId: id, verbose: true });
        const network = status?.linux?.namespaces?.options?.network;
        return {
          id,
          name: metadata?.name ?? "",
          isReady: state === PodSandboxState.SANDBOX_READY,
          hasNetwork: network !== NamespaceMode.NODE,
          addresses: addressesIn(status?.network),
          isPlugged: Object.keys(infoIn(info).cniResult ?? {}).length > 0,
          pausePid: infoIn(info).pid ?? 0,
        };
      }),
    ),
    containers: await Promise.all(
      containers.containers.map(async ({ id, podSandboxId, metadata }) => {
        const { status, info } = await api.containerStatus({ containerId: id, verbose: true });
        return {
          id,
          name: metadata?.name ?? "",
          sandboxId: podSandboxId,
          state: STATES[status?.state ?? -1] ?? "unknown",
          exitCode: status?.exitCode ?? 0,
          reason: status?.reason ?? "",
          pid: infoIn(info).pid ?? 0,
          image: status?.imageId ?? "",
          memoryBytes: Number(status?.resources?.linux?.memoryLimitInBytes ?? 0),
        };
      }),
    ),
    images: images.images.map(({ id }) => id),
  };
}
