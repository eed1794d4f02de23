// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { messageOf } from "../errors.ts";
import { namesIn } from "../lib/directory.ts";
import { readSmallFile } from "../lib/small-file.ts";
import type { Keeper } from "./keep-pods.ts";
import type { Clock } from "./lifecycle.ts";
import { parseManifest } from "./manifest/parse.ts";
import { type Pod, podKey } from "./pod.ts";

export interface DirectoryDeps {
  readonly keeper: Pick<Keeper, "apply" | "delete" | "list" | "sync">;
  readonly clock: Clock;
  readonly log: {
    readonly info: (fields: object, message: string) => void;
    readonly warn: (fields: object, message: string) => void;
  };
}

/** The pods of the manifests in one directory. */
export interface ManifestDirectory {
  /** Looks no more, once the look in flight is over; the pods go on as they are. */
  close(): Promise<void>;
}

const LOOK_MS = 5000;
const MAX_FILES = 100;
const MAX_BYTES = 1024 * 1024;

/**
 * Keeps a pod for each that the manifests of `directory` ask for, as a kubelet does with static pods: a file
 * that changes changes its pods, one that goes takes them along, and one that is removed by hand comes
 * back. Each file is a manifest of its own. The directory is the administrator's, so its pods may have of the
 * machine what they ask for.
 *
 * A file with a mistake leaves the pods that it gave as they are, and is told of once.
 */
export function keepManifestDirectory(directory: string, deps: DirectoryDeps): ManifestDirectory {
  /** What the log has said of a file, so that it says it once. */
  const told = new Map<string, string>();
  let isClosed = false;
  let cancel = () => {};
  let looking = look();

  function tell(file: string, message: string): void {
    if (told.get(file) === message) return;
    told.set(file, message);
    deps.log.warn({ file }, message);
  }

  async function look(): Promise<void> {
    // What a look meets is told; the next one comes in any case.
    await once().catch((error) => tell(directory, messageOf(error)));
    if (isClosed) return;
    cancel = deps.clock.after(LOOK_MS, () => {
      looking = look();
    });
  }

  async function once(): Promise<void> {
    const files = manifestFiles(directory);
    const wanted: Pod[] = [];
    const unreadable = new Set<string>();
    for (const file of files) {
      try {
        wanted.push(...podsOf(file));
        told.delete(file);
      } catch (error) {
        unreadable.add(file);
        tell(file, messageOf(error));
      }
    }
    await removeOthers(wanted, unreadable);
    // Those of one Job begin together, since they look at each other for whose turn it is.
    const groups = Map.groupBy(wanted, ({ namespace, owner, uid }) => `${namespace}/${owner ?? uid}`);
    for (const pods of groups.values()) await applyTogether(pods);
    if (wanted.length > 0) await deps.keeper.sync();
    told.delete(directory);
  }

  async function removeOthers(wanted: readonly Pod[], unreadable: ReadonlySet<string>): Promise<void> {
    const keys = new Set(wanted.map(podKey));
    for (const { pod, phase } of deps.keeper.list()) {
      if (pod.file === undefined || keys.has(podKey(pod)) || unreadable.has(pod.file)) continue;
      if (phase === "Deleting") continue;
      deps.log.info({ pod: podKey(pod), file: pod.file }, "the pod's manifest is gone, and so is the pod");
      // Not awaited: its grace holds up no other pod; what fails is tried again at the next look.
      void deps.keeper.delete(pod.namespace, pod.name).catch((error) => tell(pod.file!, messageOf(error)));
    }
  }

  async function applyTogether(pods: readonly Pod[]): Promise<void> {
    const free = pods.filter(isFree);
    try {
      for (const { pod, outcome } of await deps.keeper.apply(free)) {
        if (outcome !== "unchanged")
          deps.log.info({ pod: podKey(pod), file: pod.file }, `the pod is ${outcome}`);
      }
    } catch (error) {
      if (pods[0]?.file !== undefined) tell(pods[0].file, messageOf(error));
    }
  }

  /** Whether a pod of this name may be made or changed now; where somebody else keeps it, that is told. */
  function isFree(pod: Pod): boolean {
    const other = deps.keeper.list().find((status) => podKey(status.pod) === podKey(pod));
    if (other !== undefined && other.pod.file === undefined) {
      tell(
        pod.file!,
        `pod ${podKey(pod)} is kept already, from elsewhere; remove it, or call this one otherwise`,
      );
      return false;
    }
    return other?.phase !== "Deleting";
  }

  return {
    async close() {
      isClosed = true;
      cancel();
      await looking;
    },
  };
}

/** In the order of their names; none where there is no directory. */
function manifestFiles(directory: string): string[] {
  // Editors keep what they have not written yet in files that begin with a dot.
  const files = namesIn(directory).filter((name) => /\.(ya?ml|json)$/.test(name) && !name.startsWith("."));
  if (files.length <= MAX_FILES) return files.map((name) => join(directory, name));
  throw new Error(
    `${directory} has ${files.length} manifests, and no more than ${MAX_FILES} are kept: nothing changes`,
  );
}

function podsOf(file: string): Pod[] {
  const text = readSmallFile(file, MAX_BYTES);
  return parseManifest([{ name: file, text }]).pods.map((pod) => ({ ...pod, file, permissions: ["all"] }));
}
