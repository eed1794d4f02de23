// SPDX-License-Identifier: Apache-2.0
import type { Names } from "../dns/zone.ts";
import { type Pod, podHostnames } from "./pod.ts";

/** What names of pods lead to. */
export interface NamedPods {
  /** Those that are kept, as they are now. */
  pods(): readonly Pod[];
  /** Of its sandbox; none while it has no running one. */
  addressesOf(pod: Pod): readonly string[];
  isReady(pod: Pod): boolean;
}

/** Names of pods, as long as the set of pods stays the same. */
export interface PodNames extends Names {
  /** The pods are others now, or take along other objects. */
  forget(): void;
}

/** Longer names than these are nobody's; whoever asks for many finds nothing, which costs nothing. */
interface Index {
  /** By name relative to the domain: what leads to each of these pods. */
  readonly names: ReadonlyMap<string, Found>;
}

interface Found {
  readonly pods: readonly Pod[];
  /** Only those that are ready, as through a Service. */
  readonly onlyReady: boolean;
}

/**
 * The names of pods within the pods' domain. In `NAMESPACE.svc` a pod has its own name and its hostname, with a
 * subdomain also `HOSTNAME.SUBDOMAIN`; a Service or a subdomain has the addresses of all its pods. Where several have
 * a claim to a name, the Service goes before the pod's name, that before a hostname, and that before a subdomain.
 */
export function podNames(named: NamedPods): PodNames {
  let index: Index | undefined;
  const current = () => {
    index ??= indexOf(named.pods());
    return index;
  };
  return {
    forget() {
      index = undefined;
    },
    addressesOf(name) {
      const found = current().names.get(name);
      if (found === undefined) return undefined;
      const { pods, onlyReady } = found;
      return shuffled(
        pods.filter((pod) => !onlyReady || named.isReady(pod)).flatMap((pod) => named.addressesOf(pod)),
      );
    },
    nameOf(address) {
      const owner = named.pods().find((pod) => named.addressesOf(pod).includes(address));
      return owner === undefined ? undefined : `${owner.name}.${domainOf(owner)}`;
    },
  };
}

function domainOf({ namespace }: Pod): string {
  return `${namespace}.svc`;
}

function indexOf(pods: readonly Pod[]): Index {
  const names = new Map<string, Found>([
    ["", NOBODY],
    ["svc", NOBODY],
  ]);
  // What has a claim to names, the better one first.
  const claims: readonly ((pod: Pod) => readonly Claim[])[] = [
    ({ objects }) =>
      (objects?.services ?? []).map(({ name, publishNotReadyAddresses }) => ({
        name,
        onlyReady: !publishNotReadyAddresses,
      })),
    ({ name }) => [{ name, onlyReady: false }],
    (pod) => [{ name: shortHostname(pod), onlyReady: false }],
    ({ spec }) => (spec.subdomain === undefined ? [] : [{ name: spec.subdomain, onlyReady: true }]),
    (pod) =>
      pod.spec.subdomain === undefined
        ? []
        : [{ name: `${shortHostname(pod)}.${pod.spec.subdomain}`, onlyReady: false }],
  ];
  for (const pod of pods) names.set(domainOf(pod), NOBODY);
  for (const claimsOf of claims) {
    const added = new Map<string, { pods: Pod[]; onlyReady: boolean }>();
    for (const pod of pods) {
      for (const { name, onlyReady } of claimsOf(pod)) {
        const full = `${name}.${domainOf(pod)}`.toLowerCase();
        const one = added.get(full) ?? { pods: [], onlyReady: true };
        added.set(full, { pods: [...one.pods, pod], onlyReady: one.onlyReady && onlyReady });
      }
    }
    for (const [name, found] of added) if (!names.has(name)) names.set(name, found);
  }
  return { names };
}

interface Claim {
  readonly name: string;
  readonly onlyReady: boolean;
}

const NOBODY: Found = { pods: [], onlyReady: false };

function shortHostname(pod: Pod): string {
  return podHostnames(pod).at(-1)!;
}

/** In another order each time, since most take the first. */
function shuffled(addresses: readonly string[]): string[] {
  const start = Math.floor(Math.random() * addresses.length);
  return [...addresses.slice(start), ...addresses.slice(0, start)];
}
