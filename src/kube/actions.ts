// SPDX-License-Identifier: Apache-2.0
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { messageOf } from "../errors.ts";
import { Health, HealthCheckResponse_ServingStatus } from "../gen/grpc/health/v1/health_pb.ts";
import { withDeadline } from "../lib/deadline.ts";
import { httpGet } from "./http-get.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { ProbeSpec } from "./manifest/action-fields.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";

/** What is done to a container by a probe: one of these is set. */
export type Action = Pick<ProbeSpec, "exec" | "httpGet" | "tcpSocket" | "grpc">;

/** The container that an action is about, and how to get there. */
export interface Target {
  readonly container: ContainerSpec;
  readonly containerId: string;
  readonly sandboxId: string;
  /** The pod's; where it has none of its own, that of the machine's loopback. */
  readonly address: string;
}

type Means = Pick<Lifecycle, "exec" | "connect">;

const MAX_MESSAGE = 1024;

/** Does what a probe asks for. Resolves to why it failed, in one sentence, or to undefined when it did not. */
export async function failureOf(
  means: Means,
  action: Action,
  target: Target,
  timeoutMs: number,
): Promise<string | undefined> {
  try {
    const failure = await withDeadline(perform(means, action, target, timeoutMs), timeoutMs, titleOf(action));
    return failure?.slice(0, MAX_MESSAGE);
  } catch (error) {
    return messageOf(error).slice(0, MAX_MESSAGE);
  }
}

async function perform(
  means: Means,
  { exec, httpGet: http, tcpSocket, grpc }: Action,
  target: Target,
  timeoutMs: number,
): Promise<string | undefined> {
  if (exec !== undefined) {
    const { exitCode, output } = await means.exec(target.containerId, exec.command, timeoutMs);
    if (exitCode === 0) return undefined;
    return `${exec.command[0]} ended with exit code ${exitCode}${output === "" ? "" : `: ${output.trim()}`}`;
  }
  // A host that is named is reached as the kubelet would: from the machine.
  const host = http?.host ?? tcpSocket?.host;
  const connect = (port: number | string) =>
    means.connect(
      host === undefined ? target.sandboxId : undefined,
      host ?? target.address,
      portNumber(target.container, port),
      timeoutMs,
    );
  if (http !== undefined) {
    const address = host ?? target.address;
    return await httpGet(http, { address, connect: () => connect(http.port), timeoutMs });
  }
  if (grpc !== undefined) return await grpcFailure(await connect(grpc.port), grpc.service ?? "", timeoutMs);
  (await connect(tcpSocket!.port)).destroy();
  return undefined;
}

async function grpcFailure(
  socket: Awaited<ReturnType<Lifecycle["connect"]>>,
  service: string,
  timeoutMs: number,
): Promise<string | undefined> {
  const baseUrl = "http://pod";
  const sessionManager = new Http2SessionManager(baseUrl, undefined, { createConnection: () => socket });
  try {
    const client = createClient(Health, createGrpcTransport({ baseUrl, sessionManager }));
    const { status } = await client.check({ service }, { timeoutMs });
    if (status === HealthCheckResponse_ServingStatus.SERVING) return undefined;
    return `the health service answers status ${status} in place of SERVING`;
  } finally {
    sessionManager.abort();
    socket.destroy();
  }
}

/** A name was checked to be there when the manifest was read. */
function portNumber({ ports }: ContainerSpec, port: number | string): number {
  return typeof port === "number" ? port : ports!.find(({ name }) => name === port)!.containerPort;
}

function titleOf(action: Action): string {
  const name = (["exec", "httpGet", "tcpSocket", "grpc"] as const).find((key) => action[key] !== undefined);
  return `the ${name} action`;
}
