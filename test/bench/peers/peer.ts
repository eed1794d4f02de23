// SPDX-License-Identifier: Apache-2.0
import { connect } from "node:net";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ContainerState, ImageService, RuntimeService } from "../../../src/gen/runtime/v1/api_pb.ts";
import type { Api } from "../../integration/harness/api.ts";
import type { ControlGroup } from "../control-group.ts";

/** A container runtime that serves the CRI, with everything that it keeps in a directory of its own. */
export interface Peer {
  /** As it stands in the table: `podrt`, `containerd+runc`. */
  readonly name: string;
  readonly version: string;
  readonly api: Api;
  /** Holds the daemon, its helpers and its pods. */
  readonly group: ControlGroup;
  /** A directory for logs and volumes of its pods. */
  readonly dir: string;
  /** Which protocols of sessions it speaks over WebSocket. */
  readonly webSocketProtocol: string;
  pid(): number;
  /** Takes an image from a file, as its own tool does it; undefined where it has none. */
  readonly importImage: ((file: string) => Promise<void>) | undefined;
  /** Ends it by SIGKILL; its pods go on. */
  kill(): Promise<void>;
  /** Starts it again; resolves when it answers. */
  start(): Promise<void>;
  /** Ends it with its pods; nothing of it is left on the machine. */
  close(): Promise<void>;
}

/** What a peer is started with. */
export interface PeerOptions {
  /** `127.0.0.1:PORT` of the registry that stands for every other one. */
  readonly mirror: string;
  /** Registries that are reached at a place of their own, by the host in the names of their images. */
  readonly registries: Readonly<Record<string, string>>;
  /** What its pods begin with; registry.k8s.io/pause:3.9 unless told. */
  readonly sandboxImage?: string;
}

/** The type by its short name, as the kubelet sends it: CRI-O hangs up on whoever calls it otherwise. */
const asGrpcGo: Interceptor = (next) => (request) => {
  request.header.set("content-type", "application/grpc");
  return next(request);
};

const maxMessageBytes = 64 * 1024 * 1024;

/** Both services over one gRPC connection that stays open, as a kubelet has it: the same client for all peers. */
export function grpcApi(socketPath: string): Api {
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => connect(socketPath) },
    interceptors: [asGrpcGo],
    readMaxBytes: maxMessageBytes,
    defaultTimeoutMs: 300_000,
  });
  const clients = [createClient(RuntimeService, transport), createClient(ImageService, transport)];
  return Object.assign({}, ...clients) as Api;
}

/** Removes all pods that a peer has. Their applications get no time: those that do not hear SIGTERM would take all of it. */
export async function removeAllPods({ api }: Pick<Peer, "api">): Promise<void> {
  const running = { state: { state: ContainerState.CONTAINER_RUNNING } };
  for (const { id } of (await api.listContainers({ filter: running })).containers)
    await api.stopContainer({ containerId: id, timeout: 0n });
  for (const { id } of (await api.listPodSandbox({})).items) {
    await api.stopPodSandbox({ podSandboxId: id });
    await api.removePodSandbox({ podSandboxId: id });
  }
}
