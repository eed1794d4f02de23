// SPDX-License-Identifier: Apache-2.0
import type { MapPodsResponse, MappedPod, MappedProcess } from "../../gen/podrt/v1/podrt_pb.ts";
import { printable } from "../../lib/foreign-text.ts";
import { podTitle } from "../inventory.ts";

/** Longer than any name that Kubernetes allows. */
const MAX_NAME_CHARACTERS = 300;

/** Pods, their processes, and which namespace each of these is in. */
export interface NamespaceMap {
  /** As in `net`: those that the machine's kernel has. */
  readonly kinds: readonly string[];
  /** The daemon's process, whose namespaces are taken for the machine's. */
  readonly machine: MapProcess;
  readonly pods: readonly PodMap[];
}

export interface PodMap {
  /** The name, with its namespace where that is not the default one. */
  readonly title: string;
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** The sandbox's. */
  readonly id: string;
  readonly isReady: boolean;
  readonly addresses: readonly string[];
  /** The parent of all of them; undefined when it has ended. */
  readonly monitor: MapProcess | undefined;
  /** The pause first, then the newest attempt of each container, by name: so they keep their places when they are restarted. */
  readonly processes: readonly MapProcess[];
}

export interface MapProcess {
  readonly role: "pause" | "container" | "monitor" | "daemon";
  /** The container's name, or its role. */
  readonly name: string;
  /** Of the container; empty for the others. */
  readonly id: string;
  readonly image: string;
  /** created, running, exited, or gone where a process should be and is not. */
  readonly state: string;
  /** 0 where there is no process. */
  readonly pid: number;
  /** Inode numbers by kind. */
  readonly namespaces: ReadonlyMap<string, number>;
}

/** Those of one pod that are in the same namespace. */
export interface NamespaceGroup {
  readonly kind: string;
  readonly inode: number;
  /** Whose it is: the machine's, shared by several of the pod or of pods, or one process's own. */
  readonly owner: "machine" | "pod" | "process";
  /** Places in `processes`, ascending. */
  readonly members: readonly number[];
  /** Titles of other pods that have processes in it, but for the machine's. */
  readonly otherPods: readonly string[];
}

export function namespaceMap({ machine, pods }: MapPodsResponse): NamespaceMap {
  const daemon = mapProcess("daemon", "podrt serve", machine);
  return { kinds: [...daemon.namespaces.keys()], machine: daemon, pods: newestSandboxes(pods).map(podMap) };
}

/** A pod whose sandbox was made anew is shown as it is now. One of crictl may have no uid of its own. */
function newestSandboxes(pods: readonly MappedPod[]): readonly MappedPod[] {
  const newest = new Map<string, MappedPod>();
  for (const pod of pods) newest.set(pod.name?.uid || pod.sandboxId, pod);
  return pods.filter((pod) => newest.get(pod.name?.uid || pod.sandboxId) === pod);
}

function podMap(pod: MappedPod): PodMap {
  const name = printable(pod.name?.name ?? "", MAX_NAME_CHARACTERS);
  const namespace = printable(pod.name?.namespace ?? "", MAX_NAME_CHARACTERS);
  const newest = new Map(pod.containers.map((container) => [container.name, container]));
  return {
    title: podTitle({ name, namespace }),
    name,
    namespace,
    uid: pod.name?.uid ?? "",
    id: pod.sandboxId,
    isReady: pod.ready,
    addresses: pod.addresses,
    monitor: pod.monitor && mapProcess("monitor", "monitor", pod.monitor),
    processes: [
      mapProcess("pause", "pause", pod.pause),
      ...[...newest.values()].toSorted(byName).map(({ containerId: id, process: running, ...told }) => ({
        ...mapProcess("container", told.name, running),
        id,
        image: printable(told.image, MAX_NAME_CHARACTERS),
        state: told.state === "running" && running === undefined ? "gone" : told.state,
      })),
    ],
  };
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name.localeCompare(b.name, "en", { numeric: true });
}

function mapProcess(role: MapProcess["role"], name: string, told: MappedProcess | undefined): MapProcess {
  return {
    role,
    name: printable(name, MAX_NAME_CHARACTERS),
    id: "",
    image: "",
    state: told === undefined ? "gone" : "running",
    pid: told?.pid ?? 0,
    namespaces: new Map((told?.namespaces ?? []).map(({ kind, inode }) => [kind, Number(inode)])),
  };
}

/** The namespaces of one kind in a pod, in the order of their first members. */
export function groupsOf(map: NamespaceMap, pod: PodMap, kind: string): readonly NamespaceGroup[] {
  const members = new Map<number, number[]>();
  for (const [place, { namespaces }] of pod.processes.entries()) {
    const inode = namespaces.get(kind);
    if (inode !== undefined) members.set(inode, [...(members.get(inode) ?? []), place]);
  }
  return [...members].map(([inode, places]) => {
    const isMachines = map.machine.namespaces.get(kind) === inode;
    const otherPods = isMachines ? [] : othersWith(map, pod, kind, inode);
    const isShared = places.length + otherPods.length > 1;
    const owner = isMachines ? "machine" : isShared ? "pod" : "process";
    return { kind, inode, owner, members: places, otherPods };
  });
}

function othersWith({ pods }: NamespaceMap, pod: PodMap, kind: string, inode: number): string[] {
  return pods
    .filter((other) => other !== pod && other.processes.some((one) => one.namespaces.get(kind) === inode))
    .map(({ title }) => title);
}

/**
 * Groups in as few lanes as let a line be drawn from the first to the last member of each without touching another
 * group's.
 */
export function lanesOf(groups: readonly NamespaceGroup[]): readonly (readonly NamespaceGroup[])[] {
  const lanes: NamespaceGroup[][] = [];
  for (const group of groups) {
    // They come by first members: only the last of a lane can reach into this one.
    const free = lanes.find((lane) => lane.at(-1)!.members.at(-1)! < group.members[0]!);
    if (free === undefined) lanes.push([group]);
    else free.push(group);
  }
  return lanes;
}

/** Who shares what, in words: kinds of which the same is to be said stand together. */
export function relations(map: NamespaceMap, pod: PodMap): readonly { kinds: string[]; words: string }[] {
  const kindsBy = new Map<string, string[]>();
  for (const kind of map.kinds) {
    const words = relation(pod, groupsOf(map, pod, kind));
    if (words !== "") kindsBy.set(words, [...(kindsBy.get(words) ?? []), kind]);
  }
  return [...kindsBy].map(([words, kinds]) => ({ kinds, words }));
}

function relation({ processes }: PodMap, groups: readonly NamespaceGroup[]): string {
  const there = groups.reduce((sum, { members }) => sum + members.length, 0);
  const who = (owner: NamespaceGroup["owner"]) =>
    groups
      .filter((group) => group.owner === owner)
      .map(({ members }) =>
        members.length === there ? "" : listed(members.map((place) => processes[place]!.name)),
      );
  const own = who("process");
  return [
    ...who("pod").map((names) => (names === "" ? "shared by all" : `shared by ${names}`)),
    ...(own.length === 0
      ? []
      : [
          own.length === there
            ? there === 1
              ? "its own"
              : "each its own"
            : `${listed(own)}: ${own.length === 1 ? "its" : "each its"} own`,
        ]),
    ...who("machine").map((names) => (names === "" ? "the machine's" : `${names}: the machine's`)),
    ...groups.flatMap(({ otherPods }) => (otherPods.length === 0 ? [] : `also of pod ${listed(otherPods)}`)),
  ].join("; ");
}

/** `a`, `a and b`, `a, b and c`. */
export function listed(words: readonly string[]): string {
  if (words.length <= 1) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** Some of the pods as programs read them. */
export function mapAsJson(map: NamespaceMap, pods: readonly PodMap[]): object {
  const plain = ({ namespaces, ...rest }: MapProcess) => ({
    ...rest,
    namespaces: Object.fromEntries(namespaces),
  });
  const podObject = (pod: PodMap) => {
    const { title: _, monitor, processes, ...rest } = pod;
    const groups = map.kinds.flatMap((kind) => groupsOf(map, pod, kind));
    return {
      ...rest,
      monitor: monitor === undefined ? null : plain(monitor),
      processes: processes.map(plain),
      namespaces: groups.map(({ members, ...group }) => ({
        ...group,
        processes: members.map((place) => processes[place]!.name),
      })),
    };
  };
  return { machine: plain(map.machine), pods: pods.map(podObject) };
}
