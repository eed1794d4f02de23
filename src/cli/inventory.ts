// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError, type NotFoundError } from "../errors.ts";
import type { Pod } from "../gen/podrt/v1/podrt_pb.ts";
import {
  type Container,
  ContainerState,
  type PodSandbox,
  PodSandboxState,
} from "../gen/runtime/v1/api_pb.ts";
import { type Daemon, promptly } from "./client.ts";
import { shortId } from "./human.ts";
import { noSuch } from "./no-such.ts";

/** A pod as a person sees it: kept by podrt, or a sandbox that a kubelet or crictl made. */
export interface PodEntry {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Set when podrt itself keeps it. */
  readonly kept?: Pod;
  /** Its newest sandbox. */
  readonly sandbox?: PodSandbox;
  readonly createdAtNs: bigint;
  /** Of all its sandboxes, newest first. */
  readonly containers: readonly Container[];
}

/** Everything the daemon has, newest first. */
export interface Inventory {
  readonly pods: readonly PodEntry[];
  readonly containers: readonly Container[];
}

export async function takeInventory(daemon: Daemon): Promise<Inventory> {
  const [{ pods: kept }, { items: sandboxes }, { containers }] = await Promise.all([
    daemon.pods.listPods({}, promptly()),
    daemon.runtime.listPodSandbox({}, promptly()),
    daemon.runtime.listContainers({}, promptly()),
  ]);
  const byUid = new Map<string, PodSandbox[]>();
  for (const sandbox of sandboxes) {
    // A pod of crictl may have no uid of its own; its sandbox's id then stands for it.
    const uid = sandbox.metadata?.uid || sandbox.id;
    byUid.set(uid, [...(byUid.get(uid) ?? []), sandbox]);
  }
  const entryOf = (uid: string, pod: Pod | undefined): PodEntry => {
    const own = (byUid.get(uid) ?? []).toSorted((a, b) => descending(a.createdAt, b.createdAt));
    const ids = new Set(own.map(({ id }) => id));
    return {
      namespace: pod?.name?.namespace ?? own[0]?.metadata?.namespace ?? "",
      name: pod?.name?.name ?? own[0]?.metadata?.name ?? "",
      uid,
      ...(pod === undefined ? {} : { kept: pod }),
      ...(own[0] === undefined ? {} : { sandbox: own[0] }),
      createdAtNs: pod?.createdAtNs ?? own[0]?.createdAt ?? 0n,
      containers: containers
        .filter((container) => ids.has(container.podSandboxId))
        .toSorted((a, b) => descending(a.createdAt, b.createdAt)),
    };
  };
  const keptUids = new Set(kept.map((pod) => pod.name?.uid ?? ""));
  const pods = [
    ...kept.map((pod) => entryOf(pod.name?.uid ?? "", pod)),
    ...[...byUid.keys()].filter((uid) => !keptUids.has(uid)).map((uid) => entryOf(uid, undefined)),
  ];
  return {
    pods: pods.toSorted((a, b) => descending(a.createdAtNs, b.createdAtNs)),
    containers: containers.toSorted((a, b) => descending(a.createdAt, b.createdAt)),
  };
}

/** `demo-pod`, or with its namespace where that is not the default one. */
export function podTitle({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return namespace === "default" || namespace === "" ? name : `${namespace}/${name}`;
}

/** Of a kept pod: its init containers, then the others. */
export function containersOf(pod: Pod): Pod["containers"] {
  return [...pod.initContainers, ...pod.containers];
}

export function isReadySandbox(sandbox: PodSandbox | undefined): sandbox is PodSandbox {
  return sandbox?.state === PodSandboxState.SANDBOX_READY;
}

/** The pod that `text` means: a name, NAMESPACE/NAME, or the beginning of a sandbox's id; undefined if none. */
export function findPod(inventory: Inventory, text: string): PodEntry | undefined {
  const named = inventory.pods.filter(
    ({ namespace, name }) => text === name || text === `${namespace}/${name}`,
  );
  const found =
    named.length > 0 ? named : inventory.pods.filter(({ sandbox }) => isPrefix(text, sandbox?.id));
  return onlyOne(found, text, (pod) => `${pod.namespace}/${pod.name} (${shortId(pod.sandbox?.id ?? "")})`);
}

export function requirePod(inventory: Inventory, text: string): PodEntry {
  const pod = findPod(inventory, text);
  if (pod === undefined) throw noSuch("pod", text, podNames(inventory), "`podrt pods` lists them");
  return pod;
}

/** The names by which pods are meant. */
export function podNames({ pods }: Inventory): string[] {
  return pods.flatMap((pod) => [pod.name, `${pod.namespace}/${pod.name}`]);
}

/** The names by which containers are meant. */
export function containerNames({ pods }: Inventory): string[] {
  return pods.flatMap((pod) =>
    pod.containers.flatMap((container) => [
      containerName(container),
      `${pod.name}/${containerName(container)}`,
      `${pod.namespace}/${pod.name}/${containerName(container)}`,
    ]),
  );
}

/** That neither a pod nor a container goes by this name. */
export function noPodOrContainer(inventory: Inventory, text: string): NotFoundError {
  const names = [...podNames(inventory), ...containerNames(inventory)];
  return noSuch("pod or container", text, names, missingIn(inventory, text) ?? "`podrt ps -a` lists them");
}

/**
 * The container that `text` means: POD/CONTAINER, a name that only one pod has, or the beginning of an
 * id. Of several attempts under one name the newest is meant. Undefined if there is none.
 */
export function findContainer(inventory: Inventory, text: string): Container | undefined {
  const newest = inventory.pods.flatMap((pod) => {
    const names = new Set(pod.containers.map((container) => container.metadata?.name ?? ""));
    return [...names].map((name) => {
      const container = pod.containers.find((other) => other.metadata?.name === name)!;
      return { pod, name, container };
    });
  });
  const named = newest.filter(
    ({ pod, name }) =>
      text === name || text === `${pod.name}/${name}` || text === `${pod.namespace}/${pod.name}/${name}`,
  );
  const chosen = onlyOne(named, text, ({ pod, name }) => `${podTitle(pod)}/${name}`);
  if (chosen !== undefined) return chosen.container;
  const byId = inventory.containers.filter(({ id }) => isPrefix(text, id));
  return onlyOne(byId, text, ({ id }) => shortId(id));
}

/** As `findContainer`; a pod stands for its container where it has but one, or but one that runs. */
export function requireContainer(inventory: Inventory, text: string): Container {
  const container = findContainer(inventory, text) ?? containerOfPod(inventory, text);
  if (container !== undefined) return container;
  const advice = missingIn(inventory, text) ?? "`podrt ps -a` lists them";
  throw noSuch("container", text, containerNames(inventory), advice);
}

/** Of `POD/NAME` where there is such a pod: what containers it has instead. */
function missingIn(inventory: Inventory, text: string): string | undefined {
  const slash = text.lastIndexOf("/");
  const pod = slash < 0 ? undefined : findPod(inventory, text.slice(0, slash));
  if (pod === undefined) return undefined;
  const title = podTitle(pod);
  const name = text.slice(slash + 1);
  const planned = pod.kept === undefined ? [] : containersOf(pod.kept).map((container) => container.name);
  if (planned.includes(name)) {
    return `it has not been made yet; ask \`podrt why ${title}/${name}\``;
  }
  const names = [...new Set([...planned, ...pod.containers.map(containerName)])];
  const has = names.length === 0 ? "none yet" : names.join(", ");
  return `pod ${title} has ${has}`;
}

function containerOfPod(inventory: Inventory, text: string): Container | undefined {
  const pod = findPod(inventory, text);
  if (pod === undefined) return undefined;
  const title = podTitle(pod);
  if (pod.containers.length === 0) {
    throw new FailedPreconditionError(`pod ${title} has no container yet; ask \`podrt why ${title}\``);
  }
  const running = pod.containers.filter(isRunning);
  const names = new Set((running.length > 0 ? running : pod.containers).map(containerName));
  if (names.size === 1) return pod.containers.find((one) => names.has(containerName(one)));
  const titles = [...names].map((name) => `${title}/${name}`).join(", ");
  throw new InvalidArgumentError("", `pod ${title} has several containers; say which: ${titles}`);
}

export function isRunning(container: Container): boolean {
  return container.state === ContainerState.CONTAINER_RUNNING;
}

/** It runs no more, and never again: a restart makes another. */
export function hasEnded({ state }: Container): boolean {
  return state === ContainerState.CONTAINER_EXITED || state === ContainerState.CONTAINER_UNKNOWN;
}

/** The container's name in its pod's manifest. */
export function containerName(container: Container): string {
  return container.metadata?.name ?? "";
}

function isPrefix(text: string, id: string | undefined): boolean {
  return id !== undefined && /^[0-9a-f]+$/.test(text) && id.startsWith(text);
}

function onlyOne<T>(found: readonly T[], text: string, title: (item: T) => string): T | undefined {
  if (found.length <= 1) return found[0];
  const titles = found.slice(0, 10).map(title).join(", ");
  throw new InvalidArgumentError("", `${text} could be ${found.length > 10 ? `${titles}, …` : titles}`);
}

function descending(a: bigint, b: bigint): number {
  return a < b ? 1 : a > b ? -1 : 0;
}
