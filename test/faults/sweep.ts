// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import type { Daemon } from "../integration/harness/daemon.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { containerPid } from "../integration/harness/pods.ts";
import { isAlive } from "../integration/harness/proc.ts";
import { unsettled, unsettledProblems } from "./checker.ts";
import { type Control, MODE, type Passed } from "./control.ts";
import { askExpected } from "./expected.ts";
import {
  type Bystander,
  logProblems,
  type Operation,
  operations,
  startBystander,
  subject,
} from "./operations.ts";
import { type SweptDaemon, startSweptDaemon } from "./swept-daemon.ts";

/** A daemon whose points can be counted, made deadly and made to fail. */
export interface Sweep {
  readonly daemon: Daemon;
  readonly operations: readonly Operation[];
  /** Makes the call undisturbed: how many points it passes, and how it ends. */
  count(operation: Operation): Promise<Points>;
  /** How many points the start after such a call passes. */
  countStart(operation: Operation): Promise<Points>;
  /** How many files and pipes the daemon has open. */
  descriptors(): number;
  /** One round: the daemon dies right after the call's N-th point, and in a way of its own while it starts again. */
  dieAt(operation: Operation, point: number, atStart?: StartFault): Promise<Round>;
  /** One round: the call's N-th point fails. */
  failAt(operation: Operation, point: number, errno: keyof typeof ERRNO): Promise<Round>;
  close(): Promise<void>;
}

/** What happens at the N-th point of a start: a call fails, or the daemon dies once more. */
export interface StartFault {
  readonly point: number;
  readonly errno?: keyof typeof ERRNO;
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

export async function openSweep(): Promise<Sweep> {
  const swept = await startSweptDaemon();
  try {
    const bystander = await startBystander(swept.daemon, 0.2);
    const pid = await containerPid(swept.daemon, bystander.containerId);
    return new PreparedSweep(swept, { ...bystander, pid });
  } catch (error) {
    await swept.close();
    throw error;
  }
}

class PreparedSweep implements Sweep {
  readonly daemon: Daemon;
  readonly operations: readonly Operation[];
  readonly #swept: SweptDaemon;
  readonly #control: Control;
  readonly #bystander: Bystander & { readonly pid: number };
  readonly #points = new Map<string, Points>();
  readonly #startPoints = new Map<string, Points>();
  /** Reference outcomes, of calls in which nothing happened. */
  readonly #outcomes = new Map<string, string>();
  /** What an earlier round has left for good: told once. */
  readonly #reported = new Set<string>();

  constructor(swept: SweptDaemon, bystander: Bystander & { readonly pid: number }) {
    this.daemon = swept.daemon;
    this.operations = operations(swept.archive);
    this.#swept = swept;
    this.#control = swept.control;
    this.#bystander = bystander;
  }

  async count(operation: Operation): Promise<Points> {
    const known = this.#points.get(operation.name);
    if (known !== undefined) return known;
    const points = await this.#countOnce(operation);
    this.#points.set(operation.name, points);
    return points;
  }

  descriptors(): number {
    return this.#swept.descriptors();
  }

  async #countOnce(operation: Operation): Promise<Points> {
    const call = await operation.prepare(this.daemon);
    this.#control.arm(MODE.count);
    await call();
    const { all, changes } = this.#control.disarm();
    const problems = await unsettledProblems(this.daemon, this.#reported);
    if (problems.length > 0) throw new Error(`${operation.name}, undisturbed: ${problems.join("; ")}`);
    this.#outcomes.set(operation.name, await this.#state());
    await this.#tidy(operation);
    return { all, changes };
  }

  async countStart(operation: Operation): Promise<Points> {
    const known = this.#startPoints.get(operation.name);
    if (known !== undefined) return known;
    const call = await operation.prepare(this.daemon);
    await call();
    await this.daemon.kill();
    this.#control.arm(MODE.count);
    await this.daemon.start();
    const points = this.#control.disarm();
    await this.#tidy(operation);
    this.#startPoints.set(operation.name, points);
    return points;
  }

  async dieAt(operation: Operation, point: number, atStart?: StartFault): Promise<Round> {
    const call = await operation.prepare(this.daemon);
    let passed = await this.#dieIn(call, point);
    const problems: string[] = [];
    if (atStart !== undefined) {
      passed = await this.#startDisturbed(atStart, problems);
    }
    if (!isAlive(this.daemon.pid())) {
      await this.daemon.kill();
      await this.daemon.start().catch((error) => problems.push(`start: ${String(error)}`));
    }
    problems.push(...(await this.#unsettled("before the retry")));
    await this.#retry(operation, call, problems);
    return { wasHit: passed.wasHit, place: passed.place, problems };
  }

  /** Makes the call of a daemon that dies at its N-th point; one that is over before is killed. */
  async #dieIn(call: () => Promise<unknown>, point: number): Promise<Passed> {
    const pid = this.daemon.pid();
    this.#control.arm(MODE.die, point);
    const inFlight = call().catch(() => {});
    await Promise.race([
      inFlight,
      eventually("the daemon is dead", () => !isAlive(pid), 60_000).catch(() => {}),
    ]);
    // What goes on behind the answer may come to the point too.
    if (isAlive(pid)) await sleep(20);
    const passed = this.#control.disarm();
    if (passed.wasHit) await eventually("the daemon is dead", () => !isAlive(pid));
    // Its threads end a moment later, and with them its lock.
    await this.daemon.kill();
    await inFlight;
    return passed;
  }

  /** Starts a daemon that dies or meets an error on the way. It may refuse to start for it, in a sentence. */
  async #startDisturbed({ point, errno }: StartFault, problems: string[]): Promise<Passed> {
    this.#control.arm(errno === undefined ? MODE.die : MODE.fail, point, errno && ERRNO[errno]);
    const failure = await this.daemon.start().then(() => undefined, String);
    const passed = this.#control.disarm();
    if (errno !== undefined && failure !== undefined) problems.push(...uncleanError(failure));
    if (failure !== undefined && !passed.wasHit) problems.push(`start: ${failure}`);
    return passed;
  }

  async failAt(operation: Operation, point: number, errno: keyof typeof ERRNO): Promise<Round> {
    const call = await operation.prepare(this.daemon);
    const pid = this.daemon.pid();
    const problems: string[] = [];
    this.#control.arm(MODE.fail, point, ERRNO[errno]);
    const failure = await call().then(() => undefined, String);
    if (failure !== undefined) problems.push(...uncleanError(failure));
    const { wasHit, place } = this.#control.disarm();
    if (failure === undefined || !operation.takesAway)
      problems.push(...(await this.#unsettled("after the fault")));
    await this.#retry(operation, call, problems, failure !== undefined);
    if (this.daemon.pid() !== pid || !isAlive(pid)) problems.push("the daemon has ended");
    return { wasHit, place, problems };
  }

  async #retry(
    operation: Operation,
    call: () => Promise<unknown>,
    problems: string[],
    wasUndone = false,
  ): Promise<void> {
    await call().catch((error) => problems.push(`retry: ${String(error)}`));
    problems.push(...(await this.#unsettled("after the retry")));
    const wanted = this.#outcomes.get(operation.name);
    if (wanted !== undefined) problems.push(...(await this.#differences(wanted, wasUndone)));
    await this.#tidy(operation).catch((error) => problems.push(`tidy: ${String(error)}`));
    const left = await unsettledProblems(this.daemon, this.#reported);
    problems.push(...left.map((problem) => `after the removal: ${problem}`));
    for (const problem of left) this.#reported.add(problem);
    if ((await containerPid(this.daemon, this.#bystander.containerId)) !== this.#bystander.pid)
      problems.push("the bystander has another process");
    problems.push(...logProblems(this.#bystander));
  }

  /** Output that could not be written at once is written somewhat later than the end of who wrote it is told. */
  #differences(wanted: string, wasUndone: boolean): Promise<string[]> {
    return unsettled(async () => {
      let state = await this.#state().catch(String);
      // A start that is undone once its program runs may come too late for its first line, which the next one says too.
      if (wasUndone) state = state.replace("stdout F up|stdout F up|", "stdout F up|");
      return state === wanted ? [] : [`ends in ${state} instead of ${wanted}`];
    });
  }

  async #unsettled(when: string): Promise<string[]> {
    const problems = await unsettledProblems(this.daemon, this.#reported);
    return problems.map((problem) => `${when}: ${problem}`);
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
        .map(({ state, exitCode, reason, memoryBytes }) => `${state} ${exitCode} ${reason} ${memoryBytes}`),
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

  close(): Promise<void> {
    return this.#swept.close();
  }
}

/** What a log says, without its times. */
function contentsOf(path: string): string {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.map((line) => line.split(" ").slice(1).join(" ")).join("|");
}

/** An answer must be a sentence about what was done, with a code of its own. */
export function uncleanError(text: string): string[] {
  const isRaw = /TypeError|undefined is not|\[unknown\]|is not a function|assertion/.test(text);
  return isRaw ? [`answered ${text}`] : [];
}
