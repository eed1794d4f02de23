// SPDX-License-Identifier: Apache-2.0
import { type Daemon, openDaemon, promptly } from "../client.ts";
import { shortId } from "../human.ts";
import { imageNames } from "../image-names.ts";
import { containerName, isReadySandbox, isRunning, podTitle, takeInventory } from "../inventory.ts";
import type { Candidate } from "./complete.ts";
import type { Kind } from "./placeholders.ts";

/** Somebody waits with a finger on the key; a daemon that takes longer is busy with better things. */
const DEADLINE_MS = 1500;
const MOST = 500;

/** The names that begin with `prefix`; none where the daemon does not answer soon. */
export async function namesOf(socketPath: string, kind: Kind, prefix: string): Promise<readonly Candidate[]> {
  using daemon = openDaemon(socketPath);
  const late = Promise.withResolvers<readonly Candidate[]>();
  const timer = setTimeout(() => late.resolve([]), DEADLINE_MS);
  try {
    const names = await Promise.race([LISTS[kind]?.(daemon, prefix) ?? [], late.promise]);
    return names.filter(({ value }) => value.startsWith(prefix)).slice(0, MOST);
  } catch {
    // A daemon that is away or refuses has no names to offer.
    return [];
  } finally {
    clearTimeout(timer);
  }
}

const LISTS: Readonly<Partial<Record<Kind, (daemon: Daemon, prefix: string) => Promise<Candidate[]>>>> = {
  pod: async (daemon, prefix) =>
    (await takeInventory(daemon)).pods.flatMap((pod) => {
      const text = `pod, ${pod.kept?.phase ?? (isReadySandbox(pod.sandbox) ? "Ready" : "NotReady")}`;
      return [{ value: podTitle(pod), text }, ...idsOf(pod.sandbox?.id, prefix, `pod ${podTitle(pod)}`)];
    }),
  container: async (daemon, prefix) => {
    const { pods } = await takeInventory(daemon);
    const all = pods.flatMap((pod) =>
      pod.containers.map((container) => ({ container, pod: podTitle(pod), name: containerName(container) })),
    );
    const podsOf = (wanted: string) =>
      new Set(all.filter(({ name }) => name === wanted).map(({ pod }) => pod));
    return all.flatMap(({ container, pod, name }) => {
      const text = `container, ${isRunning(container) ? "running" : "not running"}`;
      return [
        { value: `${pod}/${name}`, text },
        // The name alone where that is enough, once its beginning is there.
        ...(prefix !== "" && podsOf(name).size === 1 ? [{ value: name, text: `${text}, of ${pod}` }] : []),
        ...idsOf(container.id, prefix, `container ${pod}/${name}`),
      ];
    });
  },
  image: async (daemon, prefix) =>
    (await daemon.images.listImages({}, promptly())).images.flatMap((image) => {
      const [first = "image"] = image.repoTags;
      return [
        ...imageNames(image).map((value) => ({ value, text: "image" })),
        ...idsOf(image.id.replace("sha256:", ""), prefix, first),
      ];
    }),
  volume: async (daemon) =>
    (await daemon.pods.listVolumes({}, promptly())).volumes.map((volume) => ({
      value: podTitle(volume),
      text: volume.pods.length === 0 ? "volume, not used" : `volume of ${volume.pods.join(", ")}`,
    })),
};

function idsOf(id: string | undefined, prefix: string, text: string): Candidate[] {
  return id !== undefined && /^[0-9a-f]{2,}$/.test(prefix) ? [{ value: shortId(id), text }] : [];
}
