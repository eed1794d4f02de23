// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import { writeImageFiles } from "../fixtures/images/archives.ts";
import { prepareImages, startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { type Daemon, startDaemon } from "../integration/harness/daemon.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { containerPid } from "../integration/harness/pods.ts";
import { isAlive, procLink } from "../integration/harness/proc.ts";
import { buildSweepBinary } from "./build.ts";
import { problemsOf } from "./checker.ts";
import { CONTROL_VARIABLE, MODE, openControl, WORD } from "./control.ts";
import { askExpected } from "./expected.ts";
import { pluginDirectory } from "./network-plugin.ts";
import {
  type Bystander,
  logProblems,
  type Operation,
  operations,
  startBystander,
  subject,
} from "./operations.ts";

/** A daemon whose points can be counted, made deadly and made to fail. */
export interface Sweep {
  readonly daemon: Daemon;
  readonly operations: readonly Operation[];
  /** Makes the call undisturbed: how many points it passes, and how it ends. */
  count(operation: Operation): Promise<Points>;
  /** How many files and pipes the daemon has open; sockets and event queues come and go with its threads. */
  descriptors(): number;
  /** One round: the daemon dies right after the call's N-th point. Answers what was wrong. */
  dieAt(operation: Operation, point: number): Promise<Round>;
  /** One round: the same, and then the daemon dies once more while it starts. */
  dieTwiceAt(operation: Operation, point: number, startPoint: number): Promise<Round>;
  /** One round: the call's N-th point fails. */
  failAt(operation: Operation, point: number, errno: keyof typeof ERRNO): Promise<Round>;
  close(): Promise<void>;
}

export interface Points {
  /** Calls that change something, after each of which the daemon may die. */
  readonly changes: number;
  /** Those and the ones that take something which can run out: each may fail. */
  readonly all: number;
}

export interface Round {
  /** False when the call was over before it came to that point. */
  readonly wasHit: boolean;
  /** Which call it was at, and from where. */
  readonly place: string;
  readonly problems: readonly string[];
}

const SETTLE_MS = 4000;
const importedName = "podrt/volume-content:latest";

export async function openSweep(): Promise<Sweep> {
  const path = await buildSweepBinary();
  await using opened = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "podrt-sweep-"));
  opened.defer(() => rmSync(directory, { recursive: true, force: true }));
  const registry = opened.use(await startImageRegistry());
  const controlPath = join(directory, "control");
  const control = openControl(controlPath);
  const { layoutDir } = await prepareImages();
  const { ociArchive } = writeImageFiles(layoutDir, importedName, join(directory, "archive"));
  const program = { path, environment: { [CONTROL_VARIABLE]: controlPath } };
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  const network = `cni_plugin_dirs = ["${pluginDirectory(root)}"]`;
  const daemon = await startDaemon({ mirror: registry.host, program, root, network });
  opened.defer(() => daemon.close());
  const bystander = await startBystander(daemon, 0.2);
  const list = operations(ociArchive);
  const sweep = await new PreparedSweep(daemon, registry, directory, control, bystander, list).settled();
  opened.move();
  return sweep;
}

class PreparedSweep implements Sweep {
  readonly daemon: Daemon;
  readonly operations: readonly Operation[];
  readonly #registry: Registry;
  readonly #directory: string;
  readonly #control: Int32Array;
  readonly #bystander: Bystander;
  readonly #points = new Map<string, Points>();
  /** Reference outcomes, of calls in which nothing happened. */
  readonly #outcomes = new Map<string, string>();
  /** What an earlier round has left for good: told once. */
  readonly #reported = new Set<string>();
  #bystanderPid = 0;

  constructor(
    daemon: Daemon,
    registry: Registry,
    directory: string,
    control: Int32Array,
    bystander: Bystander,
    list: readonly Operation[],
  ) {
    this.daemon = daemon;
    this.operations = list;
    this.#registry = registry;
    this.#directory = directory;
    this.#control = control;
    this.#bystander = bystander;
  }

  async settled(): Promise<this> {
    this.#bystanderPid = await containerPid(this.daemon, this.#bystander.containerId);
    return this;
  }

  #arm(mode: number, target = 0, errno = 0): void {
    rmSync(join(this.#directory, "control.hit"), { force: true });
    const values = [
      [WORD.mode, MODE.off],
      [WORD.passed, 0],
      [WORD.changes, 0],
      [WORD.target, target],
      [WORD.errno, errno],
      [WORD.hit, 0],
      [WORD.mode, mode],
    ] as const;
    for (const [word, value] of values) Atomics.store(this.#control, word, value);
  }

  #disarm(): Points & Pick<Round, "wasHit" | "place"> {
    Atomics.store(this.#control, WORD.mode, MODE.off);
    const place = join(this.#directory, "control.hit");
    return {
      all: Atomics.load(this.#control, WORD.passed),
      changes: Atomics.load(this.#control, WORD.changes),
      wasHit: Atomics.load(this.#control, WORD.hit) === 1,
      place: existsSync(place) ? readFileSync(place, "utf8") : "",
    };
  }

  async count(operation: Operation): Promise<Points> {
    const known = this.#points.get(operation.name);
    if (known !== undefined) return known;
    // What is made once and kept, such as threads and the monitor's memfd, is no part of the call.
    await this.#countOnce(operation);
    const points = await this.#countOnce(operation);
    this.#points.set(operation.name, points);
    return points;
  }

  descriptors(): number {
    const dir = `/proc/${this.daemon.pid()}/fd`;
    return readdirSync(dir).filter((fd) => !/^(socket|anon_inode):|^$/.test(procLink(`${dir}/${fd}`))).length;
  }

  async #countOnce(operation: Operation): Promise<Points> {
    const call = await operation.prepare(this.daemon);
    this.#arm(MODE.count);
    await call();
    const { all, changes } = this.#disarm();
    const problems = await this.#unsettled();
    if (problems.length > 0) throw new Error(`${operation.name}, undisturbed: ${problems.join("; ")}`);
    this.#outcomes.set(operation.name, await this.#state());
    await this.#tidy(operation);
    return { all, changes };
  }

  async dieAt(operation: Operation, point: number): Promise<Round> {
    const call = await operation.prepare(this.daemon);
    const pid = this.daemon.pid();
    this.#arm(MODE.die, point);
    const inFlight = call().catch(() => {});
    await Promise.race([
      inFlight,
      eventually("the daemon is dead", () => !isAlive(pid), 60_000).catch(() => {}),
    ]);
    // What goes on behind the answer may come to the point too.
    if (isAlive(pid)) await sleep(20);
    const { wasHit, place } = this.#disarm();
    if (wasHit) await eventually("the daemon is dead", () => !isAlive(pid));
    // Its threads end a moment later, and with them its lock.
    await this.daemon.kill();
    await inFlight;
    const problems: string[] = [];
    await this.daemon.start().catch((error) => problems.push(`start: ${String(error)}`));
    problems.push(...(await this.#unsettled()).map((problem) => `before the retry: ${problem}`));
    await this.#retry(operation, call, problems);
    return { wasHit, place, problems };
  }

  async dieTwiceAt(operation: Operation, point: number, startPoint: number): Promise<Round> {
    const call = await operation.prepare(this.daemon);
    this.#arm(MODE.die, point);
    await call().catch(() => {});
    this.#disarm();
    await this.daemon.kill();
    this.#arm(MODE.die, startPoint);
    await this.daemon.start().catch(() => {});
    const { wasHit, place } = this.#disarm();
    await this.daemon.kill();
    const problems: string[] = [];
    await this.daemon.start().catch((error) => problems.push(`start: ${String(error)}`));
    problems.push(...(await this.#unsettled()).map((problem) => `before the retry: ${problem}`));
    await this.#retry(operation, call, problems);
    return { wasHit, place, problems };
  }

  async failAt(operation: Operation, point: number, errno: keyof typeof ERRNO): Promise<Round> {
    const call = await operation.prepare(this.daemon);
    const pid = this.daemon.pid();
    const problems: string[] = [];
    this.#arm(MODE.fail, point, ERRNO[errno]);
    const failure = await call().then(() => undefined, String);
    if (failure !== undefined) problems.push(...uncleanError(failure));
    const { wasHit, place } = this.#disarm();
    if (failure === undefined || !operation.takesAway)
      problems.push(...(await this.#unsettled()).map((problem) => `after the fault: ${problem}`));
    await this.#retry(operation, call, problems);
    if (this.daemon.pid() !== pid || !isAlive(pid)) problems.push("the daemon has ended");
    return { wasHit, place, problems };
  }

  async #retry(operation: Operation, call: () => Promise<unknown>, problems: string[]): Promise<void> {
    await call().catch((error) => problems.push(`retry: ${String(error)}`));
    problems.push(...(await this.#unsettled()).map((problem) => `after the retry: ${problem}`));
    const [state, wanted] = [await this.#state().catch(String), this.#outcomes.get(operation.name)];
    if (wanted !== undefined && state !== wanted) problems.push(`ends in ${state} instead of ${wanted}`);
    await this.#tidy(operation).catch((error) => problems.push(`tidy: ${String(error)}`));
    const left = await this.#unsettled();
    problems.push(...left.map((problem) => `after the removal: ${problem}`));
    for (const problem of left) this.#reported.add(problem);
    if ((await containerPid(this.daemon, this.#bystander.containerId)) !== this.#bystanderPid)
      problems.push("the bystander has another process");
    problems.push(...logProblems(this.#bystander));
  }

  /** What the checker still finds once everything that goes on behind the answers has had time to end. */
  async #unsettled(): Promise<string[]> {
    const endMs = performance.now() + SETTLE_MS;
    for (;;) {
      const found = await problemsOf(this.daemon).catch((error) => [`the checker failed: ${String(error)}`]);
      const problems = found.filter((problem) => !this.#reported.has(problem));
      if (problems.length === 0 || performance.now() > endMs) return problems;
      await sleep(25);
    }
  }

  async #state(): Promise<string> {
    const { sandboxes, containers } = await askExpected(this.daemon);
    const { images } = await this.daemon.api.listImages({});
    const logs = join(this.daemon.root, "logs");
    const isOurs = ({ name }: { name: string }) => name === subject;
    return JSON.stringify({
      sandboxes: sandboxes.filter(isOurs).map(({ isReady }) => (isReady ? "ready" : "not ready")),
      containers: containers
        .filter(isOurs)
        .map(({ state, exitCode, reason }) => `${state} ${exitCode} ${reason}`),
      images: images.map(({ repoTags, repoDigests }) => [...repoTags, ...repoDigests].join(" ")).sort(),
      logs: readdirSync(logs)
        .filter((name) => name.startsWith(subject))
        .sort()
        .map((name) => `${name}: ${contentsOf(join(logs, name))}`),
    });
  }

  async #tidy(operation: Operation): Promise<void> {
    const { api } = this.daemon;
    for (const { id, metadata } of (await api.listPodSandbox({})).items) {
      if (metadata?.name === subject) await api.removePodSandbox({ podSandboxId: id });
    }
    await operation.tidy?.(this.daemon);
    const logs = join(this.daemon.root, "logs");
    for (const name of readdirSync(logs)) {
      if (name.startsWith(subject)) rmSync(join(logs, name));
    }
  }

  async close(): Promise<void> {
    this.#disarm();
    try {
      await this.daemon.close();
    } finally {
      await this.#registry[Symbol.asyncDispose]();
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }
}

/** What a log says, without its times. */
function contentsOf(path: string): string {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.map((line) => line.split(" ").slice(1).join(" ")).join("|");
}

/** An answer must be a sentence about what was done, with a code of its own. */
function uncleanError(text: string): string[] {
  const isRaw = /TypeError|undefined is not|\[unknown\]|is not a function|assertion/.test(text);
  return isRaw ? [`answered ${text}`] : [];
}
