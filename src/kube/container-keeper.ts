// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { messageOf } from "../errors.ts";
import { mayRun } from "./container-order.ts";
import type { Hooks } from "./hooks.ts";
import type { Clock, ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import { graceSecondsOf, type Pod, type PodHome, podLogsDir } from "./pod.ts";
import { imagesOf, type PodImages, rootRefusal } from "./pod-images.ts";
import type { PodMemory } from "./pod-memory.ts";
import type { PodNote } from "./pod-note.ts";
import type { PodProbes } from "./pod-probes.ts";
import type { ContainerMemory } from "./pod-record.ts";
import { messagesDir, prepareMessageFile } from "./termination-message.ts";
import { containerConfig } from "./to-cri.ts";
import type { Troubles } from "./troubles.ts";
import { makeSubPaths } from "./volume-mounts.ts";
import { pruneAttempts } from "./volumes.ts";

export interface ContainerKeeperDeps {
  readonly pod: Pod;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly home: PodHome;
  readonly memory: PodMemory;
  readonly troubles: Troubles;
  readonly hooks: Hooks;
  readonly probes: PodProbes;
  readonly images: PodImages;
  /** The pod's, newest first. */
  sandboxes(): SandboxView[];
  /** Notes that a container is in trouble; it is left alone for a while. */
  suffer(name: string, reason: string, message: string): void;
  /** Whether it is being left alone. */
  isWaiting(name: string): boolean;
  /** Another pass is due by then. */
  wakeBy(ms: number): void;
  log(message: string): void;
  note(note: PodNote): void;
}

/** Keeps the containers of one pod. */
export interface ContainerKeeper {
  /** Does what the container needs next in a sandbox that is ready; what goes wrong is its trouble. */
  keep(container: ContainerSpec, sandbox: SandboxView): Promise<void>;
}

export function containerKeeper(deps: ContainerKeeperDeps): ContainerKeeper {
  const { pod, lifecycle, clock, home, memory, troubles, hooks, probes, images, sandboxes } = deps;
  const { suffer, isWaiting, wakeBy } = deps;
  /** Ids of containers that are being ended for what a probe said. */
  const kills = new Set<string>();
  /** By container name: the container whose restart was last put off. */
  const putOff = new Map<string, string>();

  async function keep(container: ContainerSpec, sandbox: SandboxView): Promise<void> {
    const { name } = container;
    // What ended while this pass dealt with other containers is noted first: it has a policy and a wait.
    // If the whole sandbox has, the next pass sees to it.
    if (!sandboxes().some(({ id, isReady }) => id === sandbox.id && isReady)) return;
    memory.noteExits(sandbox.id, "crash");
    const views = lifecycle
      .containersOf(sandbox.id)
      .filter((view) => view.name === name)
      .toSorted((a, b) => b.attempt - a.attempt);
    const [newest] = views;
    if (newest?.state === "running") {
      troubles.clear(name);
      tend(container, newest, sandbox);
      return;
    }
    if (isWaiting(name)) return;
    if (newest?.state === "created") return start(name, newest.id);
    const remembered = memory.container(name);
    if (!mayRun(pod.spec, container, { memory: remembered, newest })) return;
    if (remembered.notBeforeMs > clock.nowMs()) {
      notePutOff(name, remembered);
      return wakeBy(remembered.notBeforeMs);
    }
    if (newest?.state === "unknown") await lifecycle.stopContainer(newest.id, 0);
    const attempt = Math.max(remembered.nextAttempt, (newest?.attempt ?? -1) + 1);
    await create(container, sandbox, attempt, views);
  }

  /** Once for each container that has ended. */
  function notePutOff(name: string, { lastExit, notBeforeMs, crashes }: ContainerMemory): void {
    if (lastExit === undefined || putOff.get(name) === lastExit.containerId) return;
    putOff.set(name, lastExit.containerId);
    const seconds = Math.ceil((notBeforeMs - clock.nowMs()) / 1000);
    const message = `started again in ${seconds} s, since it ended ${crashes} times in a row`;
    deps.note({ type: "waiting", container: name, reason: "CrashLoopBackOff", message });
  }

  /** A container that runs is probed, and ended when a probe says so; what follows is a restart as any other. */
  function tend(container: ContainerSpec, view: ContainerView, sandbox: SandboxView): void {
    const { unhealthy } = memory.container(container.name);
    if (unhealthy?.containerId !== view.id) {
      probes.watch(container, view, sandbox);
      return;
    }
    if (kills.has(view.id)) return;
    kills.add(view.id);
    deps.log(`container ${container.name} is ended: ${unhealthy.message}`);
    const { message } = unhealthy;
    deps.note({ type: "unhealthy", container: container.name, reason: "Unhealthy", message });
    const graceMs = (unhealthy.graceSeconds ?? graceSecondsOf(pod)) * 1000;
    // Not awaited: others need not wait for its grace. When it fails, a later pass tries again.
    void hooks
      .end(container, view, sandbox, graceMs)
      .catch((error) => deps.log(messageOf(error)))
      .finally(() => kills.delete(view.id));
  }

  async function create(
    container: ContainerSpec,
    sandbox: SandboxView,
    attempt: number,
    earlier: readonly ContainerView[],
  ): Promise<void> {
    const { name } = container;
    const [answer, ...others] = await Promise.all(
      imagesOf(container, pod.spec).map((wanted) => images.request(wanted, attempt)),
    );
    const failed = [answer!, ...others].find(({ kind }) => kind === "failed");
    if (failed?.kind === "failed") return suffer(name, failed.reason, failed.message);
    if (answer?.kind !== "ready" || others.some(({ kind }) => kind !== "ready")) return;
    const refusal = rootRefusal(container, pod.spec.securityContext, answer.image.user);
    if (refusal !== undefined) return suffer(name, "CreateContainerConfigError", refusal);
    try {
      const image = { id: answer.image.id, reference: container.image };
      prepareMessageFile(home, pod, name, attempt);
      const place = { addresses: sandbox.addresses };
      const config = containerConfig(memory.record().pod, container, attempt, image, home, place);
      makeSubPaths(config.mounts);
      const id = await lifecycle.createContainer(sandbox.id, config);
      memory.noteAttempt(name, attempt);
      await start(name, id);
    } catch (error) {
      return suffer(name, "CreateContainerError", messageOf(error));
    }
    // The attempt before this one stays for those who ask why it ended.
    for (const view of earlier.slice(1)) await lifecycle.removeContainer(view.id);
    await pruneAttempts(join(podLogsDir(home, pod), name), attempt - 1);
    await pruneAttempts(messagesDir(home, pod, name), attempt - 1);
  }

  async function start(name: string, id: string): Promise<void> {
    try {
      await lifecycle.startContainer(id);
      troubles.clear(name);
    } catch (error) {
      suffer(name, "RunContainerError", messageOf(error));
    }
  }

  return { keep };
}
