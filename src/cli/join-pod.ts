// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { cpus, hostname, totalmem } from "node:os";
import { EPHEMERAL_ANNOTATION } from "../container/records.ts";
import { FailedPreconditionError } from "../errors.ts";
import { type ContainerConfig, NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import { parseManifest } from "../kube/manifest/parse.ts";
import { containerConfig } from "../kube/to-cri.ts";
import { sleep } from "../lib/deadline.ts";
import { attachTo } from "./attach.ts";
import { type Daemon, openDaemon, promptly } from "./client.ts";
import { ExitCode } from "./exit-code.ts";
import {
  findContainer,
  findPod,
  type Inventory,
  isReadySandbox,
  isRunning,
  noPodOrContainer,
  type PodEntry,
  podTitle,
  requireContainer,
  takeInventory,
} from "./inventory.ts";
import type { Io } from "./io.ts";
import { followLogs } from "./logs/follow.ts";
import { END_LOOK_MS } from "./look.ts";
import type { Context } from "./program.ts";
import { progressFormat } from "./progress/view.ts";
import { pullAsAsked } from "./pull.ts";
import { type QuickOptions, quickPod } from "./quick-pod.ts";
import { UsageError } from "./usage-error.ts";

export interface JoinOptions {
  /** The pod whose namespaces are joined. */
  readonly pod?: string;
  /** The container whose processes are seen, too. */
  readonly target?: string;
  readonly detach?: boolean;
  readonly rm?: boolean;
}

/** What a pod has once for all its containers. */
const OF_THE_POD = ["name", "publish", "volume", "restart", "privileged"] as const;

/**
 * Runs one more container in a pod that is there, whoever keeps it: in its network, IPC and host name, and
 * among its processes where it shares them. It is gone with the pod, and nothing starts it again.
 */
export async function runInPod(
  { io, socketPath, output }: Context,
  name: string,
  image: string,
  command: readonly string[],
  options: QuickOptions & JoinOptions,
): Promise<number> {
  for (const option of OF_THE_POD) {
    if (options[option] !== undefined)
      throw new UsageError(`--${option} has no place in a pod that is there`);
  }
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const pod = podNamed(inventory, name);
  if (!isReadySandbox(pod.sandbox)) {
    throw new FailedPreconditionError(`pod ${podTitle(pod)} does not run, so there is nothing to join`);
  }
  const sandboxId = pod.sandbox.id;
  await pullAsAsked(daemon, io, image, options.pull, progressFormat(output));
  const config = await configFor(daemon, io, inventory, pod, sandboxId, image, command, options);
  const { containerId } = await daemon.runtime.createContainer({ podSandboxId: sandboxId, config });
  const remove = () => daemon.runtime.removeContainer({ containerId });
  try {
    if (!options.detach && !options.stdin && !options.tty)
      await requireLog(daemon, podTitle(pod), containerId);
    await daemon.runtime.startContainer({ containerId });
  } catch (error) {
    await remove();
    throw error;
  }
  if (options.detach) {
    await io.out(`${podTitle(pod)}/${config.metadata?.name}\n`);
    return 0;
  }
  try {
    return await stayWith(daemon, io, containerId, options);
  } finally {
    if (options.rm) await remove();
  }
}

/** Output is shown from the log; a pod whose maker gave it no directory for logs has none. */
async function requireLog(daemon: Daemon, title: string, containerId: string): Promise<void> {
  const { status } = await daemon.runtime.containerStatus({ containerId }, promptly());
  if (status?.logPath) return;
  throw new FailedPreconditionError(
    `pod ${title} keeps no logs, from which output is shown: run the command with -it, or with --detach`,
  );
}

function podNamed(inventory: Inventory, name: string): PodEntry {
  const pod = findPod(inventory, name);
  if (pod !== undefined) return pod;
  const container = findContainer(inventory, name);
  const owner = inventory.pods.find(({ containers }) => containers.some(({ id }) => id === container?.id));
  if (owner !== undefined) return owner;
  throw noPodOrContainer(inventory, name);
}

/** As the container of a pod from a manifest would be, with the files and namespaces of the pod that it joins. */
async function configFor(
  daemon: Daemon,
  io: Io,
  inventory: Inventory,
  pod: PodEntry,
  sandboxId: string,
  image: string,
  command: readonly string[],
  options: QuickOptions & JoinOptions,
): Promise<ContainerConfig> {
  const { net: _, ...own } = options;
  const quick = quickPod(image, command, own, io.env);
  const [wanted] = parseManifest([{ name: "command line", text: quick.manifest }]).pods;
  const container = wanted!.spec.containers[0]!;
  const home = {
    stateDir: "/",
    machineMemoryBytes: totalmem(),
    cpuCount: cpus().length,
    nodeName: hostname(),
    hostAddresses: () => [],
    hostResolvConf: () => "",
    hostHosts: () => "",
    nameServer: () => undefined,
    takenIds: () => [],
  };
  const name = `${container.name}-${randomBytes(2).toString("hex")}`;
  const found = { id: image, reference: image };
  const config = containerConfig(wanted!, container, 0, found, home, { addresses: [] });
  // Its hosts file is the sandbox's, and its last words go to its log.
  config.mounts = [];
  config.metadata = { ...config.metadata!, name };
  config.logPath = `${name}/0.log`;
  // Nobody else would ever remove it when the daemon ends before this command.
  if (options.rm) config.annotations = { ...config.annotations, [EPHEMERAL_ANNOTATION]: "true" };
  config.labels = {
    "io.kubernetes.pod.name": pod.name,
    "io.kubernetes.pod.namespace": pod.namespace,
    "io.kubernetes.pod.uid": pod.uid,
    "io.kubernetes.container.name": name,
  };
  const namespaces = config.linux!.securityContext!.namespaceOptions!;
  const shared = await sharedNamespaces(daemon, sandboxId);
  namespaces.network = shared.network;
  namespaces.ipc = shared.ipc;
  namespaces.pid = shared.pid;
  if (shared.users !== undefined) namespaces.usernsOptions = shared.users;
  if (options.target !== undefined) {
    const name = options.target.includes("/")
      ? options.target
      : `${pod.namespace}/${pod.name}/${options.target}`;
    namespaces.pid = NamespaceMode.TARGET;
    namespaces.targetId = requireContainer(inventory, name).id;
  }
  return config;
}

async function sharedNamespaces(daemon: Daemon, podSandboxId: string) {
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId }, promptly());
  const { network, ipc, pid, usernsOptions } = status?.linux?.namespaces?.options ?? {};
  return {
    network: network ?? NamespaceMode.POD,
    ipc: ipc ?? NamespaceMode.POD,
    pid: pid ?? NamespaceMode.CONTAINER,
    users: usernsOptions,
  };
}

/** Shows what it writes, or joins it with this terminal, until it has ended; its exit code. */
async function stayWith(daemon: Daemon, io: Io, containerId: string, options: QuickOptions): Promise<number> {
  if (options.stdin || options.tty) return (await attachTo(daemon, io, containerId)) ?? 0;
  await using follower = followLogs(daemon, io, { prefixOf: () => "", showTimes: false });
  for (;;) {
    const { containers } = await daemon.runtime.listContainers({ filter: { id: containerId } }, promptly());
    await follower.advance(containers);
    if (!containers.some(isRunning)) break;
    if (io.interrupted.aborted) {
      await daemon.runtime.stopContainer({ containerId, timeout: 10n });
      return ExitCode.interrupted;
    }
    await sleep(END_LOOK_MS, io.interrupted).catch(() => {});
  }
  const { status } = await daemon.runtime.containerStatus({ containerId }, promptly());
  return status?.exitCode ?? 0;
}
