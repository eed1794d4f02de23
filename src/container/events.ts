// SPDX-License-Identifier: Apache-2.0
import type { SandboxRecord } from "../state/sandboxes.ts";
import { events } from "../telemetry/daemon-families.ts";

/** Something happened to a container or, when both ids are equal, to a sandbox; its state shows it already. */
export interface LifecycleEvent {
  readonly type: "created" | "started" | "stopped" | "deleted";
  readonly containerId: string;
  readonly sandboxId: string;
  /** What a sandbox was, for the event that it has been removed. */
  readonly removedSandbox?: SandboxRecord | undefined;
}

type Listener = (event: LifecycleEvent) => void;

export interface Events {
  emit(
    type: LifecycleEvent["type"],
    containerId: string,
    sandboxId: string,
    removedSandbox?: SandboxRecord,
  ): void;
  /** Calls `listener` for each event from now on; the answer ends that. */
  subscribe(listener: Listener): () => void;
}

/** Events to whoever listens; a listener that throws harms nobody else. */
export function newEvents(onFailure: (error: unknown) => void): Events {
  const listeners = new Set<Listener>();
  return {
    emit(type, containerId, sandboxId, removedSandbox) {
      events.add(1, { type });
      for (const listener of [...listeners]) {
        try {
          listener({ type, containerId, sandboxId, removedSandbox });
        } catch (error) {
          onFailure(error);
        }
      }
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
