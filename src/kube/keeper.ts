// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { cpus, hostname, networkInterfaces, totalmem } from "node:os";
import { createContainer } from "../container/create.ts";
import { execSync } from "../container/exec-sync.ts";
import { reopenLog } from "../container/log-reopen.ts";
import { netnsPathOf } from "../container/network-namespace.ts";
import { sandboxConfig } from "../container/records.ts";
import { removeContainer } from "../container/remove.ts";
import { containersOf, type Runtime } from "../container/runtime.ts";
import { startContainer } from "../container/start.ts";
import { containerState } from "../container/status.ts";
import { stopContainer } from "../container/stop.ts";
import { podIdMappings } from "../container/user-namespace.ts";
import { sleep } from "../lib/deadline.ts";
import { runOperation } from "../lib/operation.ts";
import { connectTcp } from "../linux/tcp.ts";
import { removeSandbox } from "../sandbox/remove.ts";
import { runSandbox } from "../sandbox/run.ts";
import { stopSandbox } from "../sandbox/stop.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import type { Table } from "../state/table.ts";
import { type CronJobs, type CronRecord, keepCronJobs } from "./cron-jobs.ts";
import { hostAddresses } from "./host-addresses.ts";
import { mappedRanges, subordinateRanges } from "./host-ids.ts";
import { keepPods, type Keeper as PodKeeper } from "./keep-pods.ts";
import { type ContainerView, type Lifecycle, type SandboxView, systemClock } from "./lifecycle.ts";
import { keepManifestDirectory } from "./manifest-directory.ts";
import { type Pod, type PodHome, podKey } from "./pod.ts";
import type { PodNote } from "./pod-note.ts";
import type { PodRecord } from "./pod-record.ts";
import { refuseTakenPorts } from "./taken-ports.ts";

/** What keeps this machine's pods, with those that are run at their times. */
export interface Keeper extends PodKeeper {
  readonly cronJobs: CronJobs;
}

/** This machine as its pods are told of it. */
export function podHome({
  paths,
  config,
  nameServer,
  sandboxes,
}: Pick<Runtime, "paths" | "config" | "nameServer" | "sandboxes">): PodHome {
  return {
    stateDir: paths.stateDir,
    machineMemoryBytes: totalmem(),
    cpuCount: cpus().length,
    nodeName: hostname(),
    hostAddresses: () => hostAddresses(networkInterfaces(), config.network.bridge),
    hostResolvConf: () => readOrEmpty("/etc/resolv.conf"),
    hostHosts: () => readOrEmpty("/etc/hosts"),
    nameServer: () => nameServer.address(),
    takenIds: () => [
      ...["/etc/subuid", "/etc/subgid"].flatMap((path) => subordinateRanges(readOrEmpty(path))),
      ...sandboxes.list().flatMap((record) => {
        const mappings = podIdMappings(sandboxConfig(record));
        return mappings === undefined ? [] : mappedRanges(mappings);
      }),
    ],
  };
}

/**
 * Goes on with the pods of `table` on this machine's runtime; call it once recovery is over. No image is looked for before
 * `ownImages` resolves.
 */
export function startKeeper(
  runtime: Runtime,
  table: Table<PodRecord>,
  cronTable: Table<CronRecord>,
  note: (note: PodNote, pod: Pod) => void = () => {},
  ownImages: Promise<void> = Promise.resolve(),
): Keeper {
  const { restart_backoff_ms: firstMs, restart_backoff_max_ms: maxMs, manifest_dir } = runtime.config.pods;
  const keeper = keepPods({
    lifecycle: runtimeLifecycle(runtime, ownImages),
    table,
    clock: systemClock,
    home: podHome(runtime),
    backOff: { firstMs, maxMs },
    log: (message, pod) => runtime.log.info({ pod: podKey(pod) }, message),
    note,
  });
  runtime.nameServer.answerFor(keeper.names);
  const cronJobs = keepCronJobs({
    table: cronTable,
    keeper,
    clock: systemClock,
    log: (message, { pod }) => runtime.log.info({ cronJob: podKey(pod) }, message),
  });
  const directory =
    manifest_dir === undefined
      ? undefined
      : keepManifestDirectory(manifest_dir, { keeper, clock: systemClock, log: runtime.log });
  return {
    ...keeper,
    cronJobs,
    async close() {
      cronJobs.close();
      if (directory !== undefined) await Promise.race([directory.close(), sleep(CLOSE_MS)]);
      await keeper.close();
    },
  };
}

/** A look may be waiting for a pod that is replaced to end, which the next daemon goes on with. */
const CLOSE_MS = 1000;

function runtimeLifecycle(runtime: Runtime, ownImages: Promise<void>): Lifecycle {
  // A sandbox that is deleted can no longer be asked whose it was.
  const owners = new Map<string, string>();
  return {
    sandboxesOf: ({ uid, name, namespace }) =>
      runtime.sandboxes
        .list()
        .filter((record) => record.uid === uid && record.name === name && record.namespace === namespace)
        .filter(isListed)
        .map(sandboxView),
    containersOf: (sandboxId) =>
      containersOf(runtime, sandboxId)
        .filter(({ created }) => created)
        .map(containerView),
    // Named as the calls that do the same for a kubelet.
    runSandbox: (config, handler) =>
      runOperation("RunPodSandbox", () => {
        refuseTakenPorts(config.portMappings);
        return runSandbox(runtime, config, handler);
      }),
    stopSandbox: (id) => runOperation("StopPodSandbox", () => stopSandbox(runtime, id)),
    removeSandbox: (id) => runOperation("RemovePodSandbox", () => removeSandbox(runtime, id)),
    createContainer: (sandboxId, config) =>
      runOperation("CreateContainer", () => createContainer(runtime, sandboxId, config)),
    startContainer: (id) => runOperation("StartContainer", () => startContainer(runtime, id)),
    stopContainer: (id, timeoutMs) =>
      runOperation("StopContainer", () => stopContainer(runtime, id, timeoutMs)),
    removeContainer: (id) => runOperation("RemoveContainer", () => removeContainer(runtime, id)),
    writableDirectory: (id) => runtime.snapshotter.get(id)?.upperDir,
    async exec(id, command, timeoutMs) {
      const { exitCode, stdout, stderr } = await execSync(runtime, id, { command, timeoutMs });
      return { exitCode, output: Buffer.concat([stdout, stderr]).toString("utf8") };
    },
    connect: async (sandboxId, address, port, timeoutMs) => {
      const netnsPath = sandboxId === undefined ? undefined : netnsPathOf(runtime, sandboxId);
      return connectTcp(netnsPath, address, port, timeoutMs);
    },
    reopenLog: async (id) => reopenLog(runtime, id),
    async findImage(reference) {
      await ownImages;
      const image = runtime.images.find(reference);
      return image === undefined ? undefined : { id: image.id, user: image.config.User };
    },
    async pullImage(reference, auth, signal) {
      const options = { signal, ...(auth === undefined ? {} : { auth }) };
      await runOperation("PullImage", () => runtime.images.pull(reference, options));
    },
    onEvent: (listener) =>
      runtime.events.subscribe(({ type, containerId, sandboxId }) => {
        const uid = runtime.sandboxes.get(sandboxId)?.uid ?? owners.get(sandboxId);
        if (uid === undefined) return;
        owners.set(sandboxId, uid);
        if (type === "deleted" && containerId === sandboxId) owners.delete(sandboxId);
        listener(uid);
      }),
  };
}

/** One that is still being made is nobody's business but its maker's. */
function isListed(record: SandboxRecord): boolean {
  return record.readyAtNs !== undefined || record.end !== undefined;
}

function sandboxView(record: SandboxRecord): SandboxView {
  const { id, attempt, addresses, end } = record;
  const lost = end === undefined || end.isRequested ? {} : { lostAtNs: end.atNs };
  return { id, attempt, addresses, isReady: isReady(record), endReason: end?.reason ?? "", ...lost };
}

function containerView(record: ContainerRecord): ContainerView {
  return {
    id: record.id,
    name: record.name,
    attempt: record.attempt,
    state: containerState(record),
    ...(record.startedAtNs === undefined ? {} : { startedAtNs: record.startedAtNs }),
    ...(record.finishedAtNs === undefined ? {} : { finishedAtNs: record.finishedAtNs }),
    exitCode: record.exitCode ?? 0,
    reason: record.reason ?? "",
    message: record.message ?? "",
  };
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
