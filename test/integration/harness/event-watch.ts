// SPDX-License-Identifier: Apache-2.0
import { expect } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { type ContainerEventResponse, ContainerEventType } from "../../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import { runSandbox } from "./pods.ts";

let probes = 0;

/** A subscription: what has come so far, and how it ended. */
export interface Watch {
  readonly events: ContainerEventResponse[];
  /** What came for one sandbox and its containers: `created app`, with `pod` for the sandbox itself. */
  of(sandboxId: string): string[];
  readonly ended: Promise<ConnectError>;
  leave(): void;
}

/** Subscribes; resolves once events arrive, which those of a sandbox for the purpose show. */
export async function watch(daemon: Daemon): Promise<Watch> {
  const leaving = new AbortController();
  const events: ContainerEventResponse[] = [];
  const ended = Promise.withResolvers<ConnectError>();
  const read = async () => {
    const stream = daemon.api.getContainerEvents({}, { signal: leaving.signal, timeoutMs: 0 });
    for await (const event of stream) events.push(event);
    throw new ConnectError("ended without an error", Code.Unknown);
  };
  read().catch((error) => ended.resolve(ConnectError.from(error)));
  await eventually("events arrive", async () => {
    const podSandboxId = await runSandbox(daemon, `probe-${probes++}`);
    await daemon.api.removePodSandbox({ podSandboxId });
    return events.length > 0;
  });
  return {
    events,
    of: (sandboxId) => summary(events, sandboxId),
    ended: ended.promise,
    leave: () => leaving.abort(),
  };
}

const NAMES: Readonly<Record<number, string>> = {
  [ContainerEventType.CONTAINER_CREATED_EVENT]: "created",
  [ContainerEventType.CONTAINER_STARTED_EVENT]: "started",
  [ContainerEventType.CONTAINER_STOPPED_EVENT]: "stopped",
  [ContainerEventType.CONTAINER_DELETED_EVENT]: "deleted",
};

function summary(events: readonly ContainerEventResponse[], sandboxId: string): string[] {
  const names = new Map<string, string>([[sandboxId, "pod"]]);
  return events
    .filter((event) => event.podSandboxStatus?.id === sandboxId)
    .map((event) => {
      for (const { id, metadata } of event.containersStatuses) names.set(id, metadata!.name);
      return `${NAMES[event.containerEventType]} ${names.get(event.containerId)}`;
    });
}

/** Waits until `what` answers `expected`, and that no more comes right after. */
export async function toBecome(what: () => string[], expected: readonly string[]): Promise<void> {
  await eventually(expected.join(", "), () => {
    if (what().length < expected.length) throw new Error(what().join(", "));
    return true;
  });
  await Bun.sleep(100);
  expect(what()).toEqual([...expected]);
}
