// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { ContainerConfig, PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import { connectTcp } from "../linux/tcp.ts";
import type {
  Clock,
  ContainerView,
  ExecResult,
  ImageView,
  Lifecycle,
  PodIdentity,
  SandboxView,
} from "./lifecycle.ts";

/** A clock for tests: time passes only when told to. */
export class FakeClock implements Clock {
  #nowMs = 1_700_000_000_000;
  /** By how much the wall clock was set since. */
  shiftMs = 0;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs + this.shiftMs;
  }

  /** What the clock says to a daemon that starts after it was set back. */
  setBack(ms: number): void {
    this.#nowMs -= ms;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** How long until the next timer is due; undefined when there is none. */
  nextMs(): number | undefined {
    const times = this.#timers.map(({ atMs }) => atMs - this.#nowMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Lets `ms` pass, running what falls due in its order. */
  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.run();
    }
    this.#nowMs = untilMs;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type FakeSandbox = Mutable<SandboxView> & { readonly uid: string; readonly config: PodSandboxConfig };
type FakeContainer = Mutable<ContainerView> & {
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  stopped?: () => void;
};

const REQUESTED = "stopped on request";

/** A runtime in memory for tests, with the failures a test asks for. */
export class FakeLifecycle implements Lifecycle {
  readonly clock: FakeClock;
  readonly sandboxes = new Map<string, FakeSandbox>();
  readonly containers = new Map<string, FakeContainer>();
  readonly images = new Map<string, ImageView>();
  /** Every call that changes something, as in `create app1/0`. */
  readonly calls: string[] = [];
  /** Thrown by the named call, until removed. */
  readonly failures = new Map<keyof Lifecycle, Error>();
  /** Containers that ignore the stop signal until they are killed. */
  ignoresStop = false;
  /** What containers have written to, by id. */
  readonly writable = new Map<string, string>();
  /** Answers what is executed in the container of this name; 0 where nothing is said. */
  readonly execs = new Map<string, (command: readonly string[]) => number>();
  #listeners = new Set<(podUid: string) => void>();
  #count = 0;

  constructor(clock: FakeClock) {
    this.clock = clock;
  }

  sandboxesOf({ uid }: PodIdentity): SandboxView[] {
    return [...this.sandboxes.values()].filter((sandbox) => sandbox.uid === uid).map((view) => ({ ...view }));
  }

  containersOf(sandboxId: string): ContainerView[] {
    const all = [...this.containers.values()];
    return all.filter((container) => container.sandboxId === sandboxId).map((view) => ({ ...view }));
  }

  async runSandbox(config: PodSandboxConfig): Promise<string> {
    this.#call("runSandbox", String(config.metadata?.attempt));
    const id = `sandbox${this.#count++}`;
    this.sandboxes.set(id, {
      id,
      uid: config.metadata?.uid ?? "",
      attempt: config.metadata?.attempt ?? 0,
      isReady: true,
      addresses: ["10.85.0.2"],
      endReason: "",
      config,
    });
    this.#tell(id);
    return id;
  }

  async stopSandbox(id: string): Promise<void> {
    this.#call("stopSandbox", id);
    if (this.sandboxes.get(id)?.isReady) this.endSandbox(id, REQUESTED);
  }

  async removeSandbox(id: string): Promise<void> {
    this.#call("removeSandbox", id);
    for (const container of this.containersOf(id)) this.containers.delete(container.id);
    this.#tell(id);
    this.sandboxes.delete(id);
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    const name = config.metadata?.name ?? "";
    const attempt = config.metadata?.attempt ?? 0;
    this.#call("createContainer", `${name}/${attempt}`);
    for (const other of this.containersOf(sandboxId)) {
      if (other.name === name && other.attempt === attempt) throw new Error(`${name}/${attempt} exists`);
      if (other.name === name && other.state === "running") throw new Error(`${name} runs twice`);
    }
    const id = `container${this.#count++}`;
    const common = { exitCode: 0, reason: "", message: "" };
    this.containers.set(id, { id, name, attempt, state: "created", sandboxId, config, ...common });
    this.#tell(sandboxId);
    return id;
  }

  writableDirectory(id: string): string | undefined {
    return this.writable.get(id);
  }

  async startContainer(id: string): Promise<void> {
    const container = this.containers.get(id)!;
    this.#call("startContainer", `${container.name}/${container.attempt}`);
    container.state = "running";
    container.startedAtNs = this.#nowNs();
    this.#tell(container.sandboxId);
  }

  async stopContainer(id: string, timeoutMs: number): Promise<void> {
    this.#call("stopContainer", `${id} ${timeoutMs}`);
    const container = this.containers.get(id);
    if (container?.state !== "running") return;
    if (!this.ignoresStop || timeoutMs === 0) return this.exit(id, timeoutMs === 0 ? 137 : 143);
    const { promise, resolve } = Promise.withResolvers<void>();
    container.stopped = resolve;
    this.clock.after(timeoutMs, () => this.exit(id, 137));
    return promise;
  }

  async removeContainer(id: string): Promise<void> {
    this.#call("removeContainer", id);
    this.containers.delete(id);
  }

  async exec(id: string, command: readonly string[], _timeoutMs: number): Promise<ExecResult> {
    const container = this.containers.get(id)!;
    this.#call("exec", `${container.name}/${container.attempt} ${command.join(" ")}`);
    return { exitCode: this.execs.get(container.name)?.(command) ?? 0, output: "" };
  }

  connect(_sandboxId: string | undefined, address: string, port: number): Promise<Socket> {
    this.#call("connect", `${address}:${port}`);
    return connectTcp(undefined, "127.0.0.1", port, 1000);
  }

  async reopenLog(id: string): Promise<void> {
    this.#call("reopenLog", id);
  }

  async findImage(reference: string): Promise<ImageView | undefined> {
    return this.images.get(reference);
  }

  async pullImage(reference: string, _auth: unknown, signal: AbortSignal): Promise<void> {
    this.#call("pullImage", reference);
    signal.throwIfAborted();
    this.images.set(reference, { id: `sha256:${reference}`, user: "" });
  }

  onEvent(listener: (podUid: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The container's process ends. */
  exit(id: string, exitCode: number): void {
    const container = this.containers.get(id);
    if (container?.state !== "running") return;
    container.state = "exited";
    container.exitCode = exitCode;
    container.reason = exitCode === 0 ? "Completed" : "Error";
    container.finishedAtNs = this.#nowNs();
    container.stopped?.();
    this.#tell(container.sandboxId);
  }

  /** The sandbox ends, and with it its containers. */
  endSandbox(id: string, reason: string): void {
    const sandbox = this.sandboxes.get(id)!;
    sandbox.isReady = false;
    sandbox.endReason = reason;
    if (reason !== REQUESTED) sandbox.lostAtNs = this.#nowNs();
    for (const container of this.containersOf(id)) this.exit(container.id, 137);
    this.#tell(id);
  }

  running(name: string): FakeContainer | undefined {
    return [...this.containers.values()].find((other) => other.name === name && other.state === "running");
  }

  #call(name: keyof Lifecycle, what: string): void {
    this.calls.push(`${name} ${what}`);
    const failure = this.failures.get(name);
    if (failure !== undefined) throw failure;
  }

  #tell(sandboxId: string): void {
    const uid = this.sandboxes.get(sandboxId)?.uid;
    if (uid !== undefined) for (const listener of this.#listeners) listener(uid);
  }

  #nowNs(): string {
    return `${BigInt(this.clock.wallMs()) * 1_000_000n}`;
  }
}
