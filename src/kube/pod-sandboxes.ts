// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import type { Lifecycle, SandboxView } from "./lifecycle.ts";
import type { Pod, PodHome } from "./pod.ts";
import type { PodMemory } from "./pod-memory.ts";
import { sandboxConfig } from "./to-cri.ts";
import { POD } from "./troubles.ts";
import { prepareVolumes, writeHosts } from "./volumes.ts";

/** The sandboxes of one pod, and the volumes that they begin with. */
export interface PodSandboxes {
  /** Newest first. */
  list(): SandboxView[];
  /** Makes the next one; undefined where it is not ready, whatever the reason. */
  make(): Promise<SandboxView | undefined>;
  /** Stops one unless that was done before. */
  stop(id: string): Promise<void>;
  /** Takes one that was stopped away. */
  remove(id: string): Promise<void>;
  /** Takes one away that has ended by itself, and notes why; another follows. */
  replace(sandbox: SandboxView): Promise<void>;
  /** Lets volumes show what the record has, unless they do. */
  refreshVolumes(): Promise<void>;
  /** The record has other objects by now. */
  forgetVolumes(): void;
}

export interface SandboxesDeps {
  readonly pod: Pod;
  readonly lifecycle: Pick<Lifecycle, "sandboxesOf" | "runSandbox" | "stopSandbox" | "removeSandbox">;
  readonly home: PodHome;
  readonly memory: Pick<PodMemory, "record" | "save">;
  /** Notes that something is in trouble, which is left alone for a while. */
  readonly suffer: (name: string, reason: string, message: string) => void;
  readonly isWaiting: (name: string) => boolean;
  /** The pod as a whole suffers from nothing. */
  readonly recovered: () => void;
  readonly log: (message: string) => void;
  readonly poke: () => void;
}

export function podSandboxes(deps: SandboxesDeps): PodSandboxes {
  const { pod, lifecycle, home, memory } = deps;
  const stopped = new Set<string>();
  /** Whether volumes show what the record has, as far as is known. */
  let hasVolumes = false;

  const remove = async (id: string) => {
    await lifecycle.removeSandbox(id);
    stopped.delete(id);
  };

  async function make(): Promise<SandboxView | undefined> {
    if (deps.isWaiting(POD)) return undefined;
    const attempt = memory.record().nextSandboxAttempt;
    let step = "FailedMount";
    try {
      await prepareVolumes(memory.record().pod, home);
      hasVolumes = true;
      step = "CreatePodSandboxError";
      memory.save({ nextSandboxAttempt: attempt + 1 });
      const id = await lifecycle.runSandbox(
        sandboxConfig(pod, attempt, home),
        pod.spec.runtimeClassName ?? "",
      );
      const sandbox = lifecycle.sandboxesOf(pod).find((view) => view.id === id);
      if (sandbox?.isReady) await writeHosts(pod, sandbox.addresses, home);
      deps.recovered();
      // One that died at once is seen by the next pass.
      if (!sandbox?.isReady) deps.poke();
      return sandbox?.isReady ? sandbox : undefined;
    } catch (error) {
      deps.suffer(POD, step, messageOf(error));
      return undefined;
    }
  }

  return {
    list: () => lifecycle.sandboxesOf(pod).toSorted((a, b) => b.attempt - a.attempt),
    make,
    // A stopped sandbox never runs again, so a pod at rest costs nothing.
    async stop(id) {
      if (stopped.has(id)) return;
      await lifecycle.stopSandbox(id);
      stopped.add(id);
    },
    remove,
    async replace({ id, endReason }) {
      if (endReason !== "") {
        memory.save({ lastSandboxEnd: endReason });
        deps.log(`sandbox ${id.slice(0, 13)} is replaced: ${endReason}`);
      }
      await remove(id);
    },
    async refreshVolumes() {
      if (hasVolumes) return;
      // Before it is awaited: objects that come meanwhile are shown by the next pass.
      hasVolumes = true;
      await prepareVolumes(memory.record().pod, home);
    },
    forgetVolumes: () => {
      hasVolumes = false;
    },
  };
}
