// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import type { Daemon } from "../../integration/harness/daemon.ts";
import { unsettledProblems } from "../checker.ts";
import { type Bystander, logProblems as bystanderProblems, startBystander } from "../operations.ts";
import type { SweptDaemon } from "../swept-daemon.ts";
import { containerCommands } from "./container-commands.ts";
import { type Disturber, newDisturber } from "./disturbance.ts";
import { type EventLedger, watchEvents } from "./event-ledger.ts";
import { type ImageModel, imageCommands, lookAtImages } from "./image-commands.ts";
import { lookAtContainer, lookAtLog, lookAtPod } from "./looks.ts";
import { containersIn, type Model, newModel, type Real } from "./model.ts";
import { podCommands, removePod } from "./pod-commands.ts";
import { type Calls, newReal } from "./real.ts";
import { sessionCommands } from "./session-commands.ts";

export interface PopulationOptions {
  /** How many actors there are, each with up to three pods of up to three containers. */
  readonly actors: number;
  /** The same commands and disturbances come of the same seed; when they meet is up to the machine. */
  readonly seed: number;
  /** Whether the daemon may be killed, or is only to meet errors. */
  readonly mayDie: boolean;
}

/** Actors that do all sorts of things with pods of their own, all at once, and a daemon that is disturbed. */
export interface Population {
  readonly calls: Calls;
  readonly disturber: Disturber;
  /** One text for each thing that was not as it must be. */
  readonly failures: readonly string[];
  /** Everybody acts, and the daemon is disturbed, until then; pods are left as they are. */
  live(endMs: number): Promise<void>;
  /** With nobody acting: compares the model with the interface, and the interface with the machine. Answers the pods. */
  verify(): Promise<number>;
  /** Removes every pod, and verifies that nothing of them is left. */
  clear(): Promise<void>;
  close(): void;
}

const COMMANDS_PER_ROUND = 30;

export async function newPopulation(swept: SweptDaemon, options: PopulationOptions): Promise<Population> {
  const bystander = await startBystander(swept.daemon, 0.2);
  const disturber = newDisturber(swept, options.seed, options.mayDie);
  return new ActingPopulation(swept, options, bystander, disturber);
}

class ActingPopulation implements Population {
  readonly calls: Calls = { answered: 0, repeated: 0 };
  readonly disturber: Disturber;
  readonly failures: string[] = [];
  readonly #daemon: Daemon;
  readonly #real: Real;
  readonly #models: Model[];
  readonly #images: ImageModel;
  readonly #bystander: Bystander;
  readonly #events: EventLedger;
  readonly #reported = new Set<string>();
  readonly #seed: number;
  #round = 0;

  constructor(
    { daemon, archive }: SweptDaemon,
    { actors, seed }: PopulationOptions,
    bystander: Bystander,
    disturber: Disturber,
  ) {
    this.#daemon = daemon;
    this.disturber = disturber;
    this.#real = newReal(daemon, disturber, this.calls);
    this.#models = Array.from({ length: actors }, (_, index) => newModel(`actor${index}-`));
    this.#images = { present: new Set(), archive };
    this.#bystander = bystander;
    this.#events = watchEvents(daemon);
    this.#seed = seed;
  }

  async live(endMs: number): Promise<void> {
    this.#round += 1;
    const acting = this.#models.map((model, index) =>
      this.#act(model, index, [...podCommands, ...containerCommands, ...sessionCommands], endMs),
    );
    const images = this.#act(this.#images, this.#models.length, imageCommands, endMs);
    // Nobody acts any more when this ends, however it ends.
    const outcomes = await Promise.allSettled([...acting, images, this.disturber.until(endMs)]);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    for (const model of this.#models) await this.#watched(() => this.#removeDead(model));
  }

  /** What has died is stopped and removed by whoever watches the node. */
  async #removeDead(model: Model): Promise<void> {
    await Promise.all(model.pending);
    for (const pod of model.pods.filter(({ isDying }) => isDying)) await removePod(this.#real, pod, model);
  }

  /** Runs one list of commands after the other, each chosen by the seed, the actor and the number of the list. */
  async #act<State extends object>(
    model: State,
    actor: number,
    commands: readonly fc.Arbitrary<fc.AsyncCommand<State, Real>>[],
    endMs: number,
  ): Promise<void> {
    for (let list = 0; performance.now() < endMs; list += 1) {
      const seed = ((this.#seed * 31 + this.#round) * 101 + actor) * 1009 + list;
      const [chosen] = fc.sample(
        fc.commands([...commands], { maxCommands: COMMANDS_PER_ROUND, size: "max" }),
        {
          seed,
          numRuns: 1,
        },
      );
      const limited = until(endMs, chosen!);
      try {
        await fc.asyncModelRun(() => ({ model, real: this.#real }), limited.commands);
      } catch (error) {
        this.#note(
          `actor ${actor}, seed ${seed}: ${String(error)}\n    after ${limited.ran.slice(-8).join("; ")}`,
        );
        if ("pods" in model) await this.#giveUp(model as unknown as Model);
      }
    }
  }

  /** What an actor knows is not true any more: it begins anew. */
  async #giveUp(model: Model): Promise<void> {
    const { api } = this.#daemon;
    await Promise.all(model.pending);
    model.pods.splice(0);
    await this.#watched(async () => {
      const { items } = await this.#real.call("list the pods", () => api.listPodSandbox({}));
      for (const { id, metadata } of items) {
        if (metadata?.name.startsWith(model.actor) !== true) continue;
        await this.#real.call(`give up pod ${metadata.name}`, () =>
          api.removePodSandbox({ podSandboxId: id }),
        );
      }
    });
    for (const [address, holder] of this.#real.addresses) {
      if (holder.startsWith(model.actor)) this.#real.addresses.delete(address);
    }
  }

  async verify(): Promise<number> {
    for (const model of this.#models) {
      await this.#watched(async () => {
        for (const pod of model.pods) await lookAtPod(this.#real, pod);
        for (const container of containersIn(model)) {
          await lookAtContainer(this.#real, container);
          await lookAtLog(container);
        }
      });
    }
    await this.#watched(() => lookAtImages(this.#real, this.#images));
    await this.#compareLists();
    const problems = await unsettledProblems(this.#daemon, this.#reported);
    for (const problem of [...problems, ...bystanderProblems(this.#bystander), ...this.#events.problems()])
      this.#note(problem);
    return this.#models.flatMap(({ pods }) => pods).length;
  }

  async clear(): Promise<void> {
    for (const model of this.#models) {
      await this.#watched(async () => {
        while (model.pods.length > 0) await removePod(this.#real, model.pods[0]!, model);
      });
    }
    await this.verify();
  }

  close(): void {
    this.#events.close();
  }

  /** What is listed is what the actors have, and the bystander. */
  async #compareLists(): Promise<void> {
    const { api } = this.#daemon;
    const pods = this.#models.flatMap((model) => model.pods);
    const [sandboxes, { containers }] = await Promise.all([api.listPodSandbox({}), api.listContainers({})]);
    const listed = [...sandboxes.items, ...containers].map(({ id }) => id);
    const known = [...pods, ...pods.flatMap((pod) => pod.containers)].map(({ id }) => id);
    const ours = new Set([
      ...known,
      ...sandboxes.items.filter((it) => it.metadata?.name === "bystander").map(({ id }) => id),
      this.#bystander.containerId,
    ]);
    for (const id of listed) if (!ours.has(id)) this.#note(`${id} is listed, and nobody has asked for it`);
    for (const id of known) if (!listed.includes(id)) this.#note(`${id} is not listed any more`);
  }

  async #watched(work: () => Promise<void>): Promise<void> {
    await work().catch((error) => this.#note(String(error)));
  }

  #note(problem: string): void {
    if (this.#reported.has(problem)) return;
    this.#reported.add(problem);
    this.failures.push(problem);
  }
}

/** The commands, of which none begins after that time, and what has run of them. */
function until<State extends object>(
  endMs: number,
  commands: Iterable<fc.AsyncCommand<State, Real>>,
): { readonly commands: Iterable<fc.AsyncCommand<State, Real>>; readonly ran: string[] } {
  const ran: string[] = [];
  const limited = [...commands].map((command) => ({
    check: (model: Readonly<State>) => performance.now() < endMs && command.check(model),
    run(model: State, real: Real) {
      ran.push(command.toString());
      return command.run(model, real);
    },
    toString: () => command.toString(),
  }));
  return { commands: limited, ran };
}
