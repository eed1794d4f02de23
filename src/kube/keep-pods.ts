// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { Names } from "../dns/zone.ts";
import { AlreadyExistsError, messageOf, NotFoundError, ResourceExhaustedError } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import type { Table } from "../state/table.ts";
import { type Claim, listClaims, removeClaim } from "./claims.ts";
import { freeHostIds, hostIdsOf } from "./host-ids.ts";
import type { Clock, Lifecycle } from "./lifecycle.ts";
import { NO_OBJECTS } from "./manifest/objects.ts";
import { graceSecondsOf, type Pod, type PodHome, podKey } from "./pod.ts";
import { podNames } from "./pod-names.ts";
import type { PodNote } from "./pod-note.ts";
import type { PodRecord } from "./pod-record.ts";
import { type PodStatus, podStatus } from "./pod-status.ts";
import { type PodWorker, startPodWorker } from "./pod-worker.ts";
import type { BackOff } from "./restart.ts";

export interface KeeperDeps {
  readonly lifecycle: Lifecycle;
  readonly table: Table<PodRecord>;
  readonly clock: Clock;
  readonly home: PodHome;
  readonly backOff: BackOff;
  readonly log: (message: string, pod: Pod) => void;
  readonly note?: (note: PodNote, pod: Pod) => void;
}

/** Keeps pods as a kubelet would: starts them, restarts them, replaces their sandbox when it dies. */
export interface Keeper {
  /** Records the pods, all or, when a name is taken (AlreadyExistsError), none, and begins to start them. */
  run(pods: readonly Pod[]): void;
  /**
   * Makes the pods as they are now: new ones are run, and one whose spec differs is ended and run anew. Where
   * only what it refers to differs, its volumes show that, as a kubelet's do, and it goes on. Resolves when
   * what had to end has ended. Of each of the `workloads`, as in `default/Deployment/web`, the pods that are not among
   * these are removed.
   */
  apply(pods: readonly Pod[], workloads?: readonly string[]): Promise<Applied[]>;
  /** Resolves when what was asked for so far will be remembered after a power loss. */
  sync(): Promise<void>;
  /** Newest first. */
  list(): PodStatus[];
  /** The names of the pods. */
  readonly names: Names;
  /** Stops a pod for good and leaves it listed; resolves when it has stopped. Unknown: NotFoundError. */
  stop(namespace: string, name: string, graceSeconds?: number): Promise<void>;
  /** Stops and removes a pod; resolves when nothing of it is left. Unknown: NotFoundError. */
  delete(namespace: string, name: string, graceSeconds?: number): Promise<void>;
  /** The directories of claims, in use or not. */
  volumes(): Claim[];
  /** Deletes a claim's directory. NotFoundError, or FailedPreconditionError while a kept pod has it. */
  removeVolume(namespace: string, name: string): Promise<void>;
  /** Stops keeping; the pods go on as they are. */
  close(): Promise<void>;
}

/** What became of a pod that was applied. */
export interface Applied {
  readonly pod: Pod;
  readonly outcome: "created" | "unchanged" | "updated" | "replaced" | "removed";
}

const MAX_PODS = 1000;
/** Events say when something happened; this is for what they cannot say. */
const RESYNC_MS = 10_000;
/** What ending a pod may take beyond its grace before the caller is told that it goes on. */
const END_MARGIN_MS = 60_000;
const CLOSE_MS = 5000;

/** Goes on with the pods of the table and keeps those that come. */
export function keepPods(deps: KeeperDeps): Keeper {
  const { lifecycle, table, clock } = deps;
  const workers = new Map<string, PodWorker>();

  const statusOf = (worker: PodWorker) =>
    podStatus(worker.record(), worker.troubles(), lifecycle, {
      others: othersOfJob(worker.record().pod),
      lastAnswer: worker.lastAnswer,
    });
  const names = podNames({
    pods: () => podsOf(workers),
    addressesOf: (pod) =>
      lifecycle
        .sandboxesOf(pod)
        .filter(({ isReady }) => isReady)
        .flatMap(({ addresses }) => addresses),
    isReady(pod) {
      const worker = workers.get(podKey(pod));
      const containers = worker === undefined ? [] : statusOf(worker).containers;
      return containers.length > 0 && containers.every(({ ready }) => ready);
    },
  });

  const othersInJob = ({ namespace, owner, uid, job }: Pod): PodWorker[] =>
    job?.index === undefined
      ? []
      : [...workers.values()].filter((worker) => {
          const { pod } = worker.record();
          return pod.namespace === namespace && pod.owner === owner && pod.uid !== uid;
        });
  const othersOfJob = (pod: Pod) => othersInJob(pod).map((worker) => worker.record());
  const pokeOthersOfJob = (pod: Pod) => {
    for (const worker of othersInJob(pod)) worker.poke();
  };

  const start = (record: PodRecord) => {
    const key = podKey(record.pod);
    const onGone = () => {
      workers.delete(key);
      names.forget();
    };
    workers.set(key, startPodWorker(record, { ...deps, othersOfJob, pokeOthersOfJob }, onGone));
    names.forget();
  };
  const find = (namespace: string, name: string): PodWorker => {
    const worker = workers.get(podKey({ namespace, name }));
    if (worker === undefined) throw new NotFoundError(`no pod ${name} is kept in namespace ${namespace}`);
    return worker;
  };
  const end = async (worker: PodWorker, graceSeconds: number | undefined, remove: boolean) => {
    const { pod } = worker.record();
    const grace = graceSeconds ?? graceSecondsOf(pod);
    const what = `${remove ? "removing" : "stopping"} pod ${podKey(pod)}, which goes on,`;
    await withDeadline(worker.end(grace, remove), grace * 1000 + END_MARGIN_MS, what);
  };
  const pokeOwner = (podUid: string) => {
    for (const worker of workers.values()) {
      if (worker.record().pod.uid === podUid) return worker.poke();
    }
  };
  let cancelResync = () => {};
  const resync = () => {
    for (const worker of workers.values()) worker.poke();
    cancelResync = clock.after(RESYNC_MS, resync);
  };

  for (const record of table.list()) start(record);
  const unsubscribe = lifecycle.onEvent(pokeOwner);
  cancelResync = clock.after(RESYNC_MS, resync);

  /** The record that says who has which ids is there before they are used, and goes after that. */
  const withHostIds = (pods: readonly Pod[]): Pod[] => {
    if (pods.every(({ spec }) => spec.hostUsers !== false)) return [...pods];
    const taken = [...deps.home.takenIds(), ...podsOf(workers).flatMap(hostIdsOf)];
    return pods.map((pod) => {
      if (pod.spec.hostUsers !== false) return pod;
      const given = { ...pod, hostIds: freeHostIds(taken) };
      taken.push(...hostIdsOf(given));
      return given;
    });
  };
  const run = (pods: readonly Pod[]) => {
    for (const pod of pods) {
      if (!workers.has(podKey(pod))) continue;
      throw new AlreadyExistsError(
        `pod ${podKey(pod)} exists; remove it first, as with \`podrt rm -f ${pod.name}\``,
      );
    }
    const uids = new Set([...workers.values()].map((worker) => worker.record().pod.uid));
    for (const { uid } of pods) {
      if (uids.has(uid))
        throw new AlreadyExistsError(`another pod has the uid ${uid}; leave metadata.uid out`);
      uids.add(uid);
    }
    if (workers.size + pods.length > MAX_PODS) {
      throw new ResourceExhaustedError(`no more than ${MAX_PODS} pods are kept; remove some first`);
    }
    const createdAtNs = String(BigInt(Math.trunc(clock.wallMs())) * 1_000_000n);
    const records = withHostIds(pods).map((pod) => ({
      pod,
      createdAtNs,
      nextSandboxAttempt: 0,
      containers: {},
    }));
    for (const record of records) table.put(podKey(record.pod), record);
    for (const record of records) start(record);
  };
  /** What is to become of a pod that is wanted so; one that cannot be changed into it is ended. */
  const makeRoom = async (pod: Pod): Promise<Applied> => {
    const worker = workers.get(podKey(pod));
    if (worker === undefined) return { pod, outcome: "created" };
    const record = worker.record();
    const { uid, hostIds } = record.pod;
    const wanted = { ...pod, uid, ...(hostIds === undefined ? {} : { hostIds }) };
    if (record.ending !== undefined || !isDeepStrictEqual(specPart(record.pod), specPart(wanted))) {
      await end(worker, undefined, true);
      return { pod, outcome: "replaced" };
    }
    if (isDeepStrictEqual(plain(record.pod), plain(wanted))) return { pod: record.pod, outcome: "unchanged" };
    worker.update(wanted.objects ?? NO_OBJECTS);
    names.forget();
    return { pod: wanted, outcome: "updated" };
  };
  /** The pods that the workloads once asked for and do not any more; what a file asks for is that file's. */
  const surplusOf = (pods: readonly Pod[], workloads: readonly string[]): PodWorker[] => {
    const wanted = new Set(pods.map(podKey));
    return [...workers.values()].filter((worker) => {
      const { pod } = worker.record();
      const isTheirs = workloads.includes(`${pod.namespace}/${pod.owner}`) && pod.file === undefined;
      return isTheirs && !wanted.has(podKey(pod));
    });
  };
  /** Pods of one owner begin together, since those of a Job look at each other for whose turn it is. */
  const apply = async (pods: readonly Pod[], workloads: readonly string[] = []): Promise<Applied[]> => {
    const groups = Map.groupBy(pods, (pod) => `${pod.namespace}/${pod.owner ?? pod.uid}`);
    const applied = new Map<Pod, Applied>();
    const applyGroup = async (group: readonly Pod[]) => {
      const results = await Promise.all(group.map(makeRoom));
      run(
        results
          .filter(({ outcome }) => outcome !== "unchanged" && outcome !== "updated")
          .map(({ pod }) => pod),
      );
      for (const [index, pod] of group.entries()) applied.set(pod, results[index]!);
    };
    const surplus = surplusOf(pods, workloads);
    await Promise.all([
      ...[...groups.values()].map(applyGroup),
      ...surplus.map((worker) => end(worker, undefined, true)),
    ]);
    const removed = surplus.map((worker) => ({ pod: worker.record().pod, outcome: "removed" as const }));
    return [...pods.map((pod) => applied.get(pod)!), ...removed];
  };

  return {
    run,
    apply,
    sync: table.sync,
    names,
    list: () =>
      [...workers.values()]
        .map(statusOf)
        .toSorted((a, b) => Number(BigInt(b.createdAtNs) - BigInt(a.createdAtNs))),
    stop: async (namespace, name, graceSeconds) => end(find(namespace, name), graceSeconds, false),
    delete: async (namespace, name, graceSeconds) => end(find(namespace, name), graceSeconds, true),
    volumes: () => listClaims(deps.home, podsOf(workers)),
    removeVolume: (namespace, name) => removeClaim(deps.home, podsOf(workers), namespace, name),
    async close() {
      unsubscribe();
      cancelResync();
      const closing = Promise.all([...workers.values()].map((worker) => worker.close()));
      await withDeadline(closing, CLOSE_MS, "closing the pods' keeper").catch((error) => {
        for (const worker of workers.values()) deps.log(messageOf(error), worker.record().pod);
      });
    },
  };
}

function podsOf(workers: ReadonlyMap<string, PodWorker>): Pod[] {
  return [...workers.values()].map((worker) => worker.record().pod);
}

/** What a running pod cannot be given anew. */
function specPart({ objects: _, ...rest }: Pod): unknown {
  return plain(rest);
}

/** As the table gives it back. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
