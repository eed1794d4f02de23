// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { ContainerConfig, PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import type { RegistryAuth } from "../image/registry-auth.ts";

/** What ties a sandbox to its pod. */
export interface PodIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface SandboxView {
  readonly id: string;
  readonly attempt: number;
  readonly isReady: boolean;
  readonly addresses: readonly string[];
  /** Why it is not ready; empty while it is. */
  readonly endReason: string;
  /** When it ended though nobody had asked for that, its pause having been killed or the machine restarted. */
  readonly lostAtNs?: string;
}

export interface ContainerView {
  readonly id: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: "created" | "running" | "exited" | "unknown";
  /** Decimal nanoseconds; absent until it happened. */
  readonly startedAtNs?: string;
  readonly finishedAtNs?: string;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
}

/** What a command that was executed in a container came to. */
export interface ExecResult {
  readonly exitCode: number;
  /** Of both streams, in no order between them. */
  readonly output: string;
}

export interface ImageView {
  readonly id: string;
  /** The image's USER: empty, a number or a name, perhaps with a group after a colon. */
  readonly user: string;
}

/**
 * What keeping a pod needs of the runtime; the daemon's own functions, or a fake in tests. Stops and
 * removals of what is gone succeed.
 */
export interface Lifecycle {
  sandboxesOf(pod: PodIdentity): SandboxView[];
  containersOf(sandboxId: string): ContainerView[];
  /** `handler` is a runtime class of the configuration, empty for podrt's own. */
  runSandbox(config: PodSandboxConfig, handler: string): Promise<string>;
  stopSandbox(id: string): Promise<void>;
  removeSandbox(id: string): Promise<void>;
  createContainer(sandboxId: string, config: ContainerConfig): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** Returns when it has stopped; another call with less time takes effect at once. */
  stopContainer(id: string, timeoutMs: number): Promise<void>;
  removeContainer(id: string): Promise<void>;
  /** The directory of what a container has written to its root; undefined where there is none. */
  writableDirectory(id: string): string | undefined;
  /** Runs a command in a container; past `timeoutMs` it is killed, and a DeadlineExceededError says so. */
  exec(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult>;
  /** Connects to a TCP port from the network namespace of a sandbox, or, without one, from the host's. */
  connect(sandboxId: string | undefined, address: string, port: number, timeoutMs: number): Promise<Socket>;
  /** Goes on in a new file at the log's path, the old one having been renamed. */
  reopenLog(id: string): Promise<void>;
  findImage(reference: string): Promise<ImageView | undefined>;
  pullImage(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<void>;
  /** Calls `listener` after anything happened to a sandbox of the pod or one of its containers. */
  onEvent(listener: (podUid: string) => void): () => void;
}

/** Time and timers, real or a test's. */
export interface Clock {
  /** What waits are measured by: the wall clock of the daemon's start, going on however that is set since. */
  nowMs(): number;
  /** What is told: the wall clock as it is. */
  wallMs(): number;
  /** Calls `run` once after `ms`; the result cancels it. */
  after(ms: number, run: () => void): () => void;
}

const startMs = Date.now() - performance.now();

export const systemClock: Clock = {
  nowMs: () => startMs + performance.now(),
  wallMs: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
