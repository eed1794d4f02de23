// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { checkSandboxFor } from "../container/oci/handler.ts";
import { keptSandboxConfig, PAUSE_TAG } from "../container/records.ts";
import { nowNs, type Runtime } from "../container/runtime.ts";
import { commonFileLabel, podLabels } from "../container/security/selinux.ts";
import { availableCapabilities, podIdMappings, rootMountPoint } from "../container/user-namespace.ts";
import { AlreadyExistsError, FailedPreconditionError, InternalError, UnavailableError } from "../errors.ts";
import { NamespaceMode, type PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../image/images.ts";
import { placeIn } from "../launch/child.ts";
import type { Identity } from "../launch/identity.ts";
import type { Monitor } from "../launch/monitor.ts";
import { startMonitor } from "../launch/monitor-process.ts";
import { newPassedFds } from "../launch/passed-fds.ts";
import { sandboxProgram } from "../launch/sandbox-program.ts";
import { newUserNamespace } from "../launch/user-namespace.ts";
import { Cleanup } from "../lib/cleanup.ts";
import { newId } from "../lib/id.ts";
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { orStorageError } from "../lib/storage-error.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { openNamespace, pinNamespace } from "../linux/namespace.ts";
import { identify, signal } from "../linux/process.ts";
import { podDir } from "../paths.ts";
import { isReady, type PodLabels, type SandboxRecord } from "../state/sandboxes.ts";
import { openBareMounts } from "./bare-mounts.ts";
import { makeFiles, removeFiles, unmountShm, writeHosts } from "./files.ts";
import { podRequest } from "./network-request.ts";
import { identityForPause } from "./pause-identity.ts";
import { makePodCgroup, placeOfPod, removePodCgroup } from "./pod-cgroup.ts";
import { removeTopCgroup } from "./remove.ts";
import { findSandboxImage, sandboxImageProcess } from "./sandbox-image.ts";
import { recordPauseDeath, supervise } from "./supervise.ts";
import { sandboxSysctls } from "./sysctls.ts";
import { limitNewPod } from "./update.ts";

const inFlight = new Map<string, Promise<string>>();
export const DEFAULT_OOM_SCORE = -998;

/**
 * Makes a pod sandbox and returns its id once it is ready: run directory, cgroup, monitor, pause
 * with its namespaces, network. On failure every step is undone and the name is free again.
 *
 * A repeated call with the same metadata joins the one under way, or answers the id of the sandbox
 * that it made.
 */
export async function runSandbox(
  runtime: Runtime,
  config: PodSandboxConfig,
  runtimeHandler: string,
): Promise<string> {
  const { name = "", namespace = "", uid = "", attempt = 0 } = config.metadata ?? {};
  const key = JSON.stringify([name, namespace, uid, attempt]);
  const running = inFlight.get(key);
  if (running !== undefined) return running;
  const holder = runtime.sandboxes
    .list()
    .find(
      (other) =>
        other.name === name &&
        other.namespace === namespace &&
        other.uid === uid &&
        other.attempt === attempt,
    );
  if (holder !== undefined && isReady(holder)) return holder.id;
  if (holder !== undefined) {
    throw new AlreadyExistsError(
      `sandbox ${namespace}/${name} (attempt ${attempt}) exists as ${holder.id} and is not ready: remove it or raise the attempt`,
    );
  }
  const creation = run(runtime, config, runtimeHandler).finally(() => inFlight.delete(key));
  inFlight.set(key, creation);
  return creation;
}

async function run(runtime: Runtime, config: PodSandboxConfig, runtimeHandler: string): Promise<string> {
  enterPhase("prepare");
  checkSandboxFor(runtimeHandler, config);
  checkUserNamespace(runtime, config);
  const image = await findSandboxImage(runtime);
  // Nothing waits between the choice of a label and the record that takes it.
  const labels = labelsFor(runtime, config);
  const identity = identityForPause(config, runtime.securityModules, labels);
  const intent = newRecord(runtime, config, runtimeHandler, image, labels);
  const { id } = intent;
  noteSubject(id);
  const namespaces = namespacesOf(config);
  const request = podRequest(intent, config);
  if (namespaces.network) runtime.network.checkRequest(request);
  const dir = podDir(runtime.paths, id);
  const hostname = config.hostname || runtime.hostname;
  let record: SandboxRecord = intent;
  /**
   * For the next `note`. Until the sandbox is ready, whatever is written of it only says that it is to be undone, for which a
   * daemon that starts needs no more than the intent: the monitor bears the id, and the pause is in its journal and its cgroup.
   */
  const hold = (changes: Partial<SandboxRecord>) => {
    record = { ...record, ...changes };
  };
  const note = (changes: Partial<SandboxRecord>) => {
    hold(changes);
    runtime.sandboxes.put(id, record);
  };
  const failedUndos: string[] = [];
  await using cleanup = new Cleanup((step, err) => {
    failedUndos.push(step);
    runtime.log.error({ err, step, sandbox: id }, "undo failed");
  });
  note({});
  cleanup.add("forget the sandbox", async () => {
    // What could not be undone stays listed as not ready, so that stopping and removing it tries again.
    if (failedUndos.length === 0) {
      runtime.sandboxes.delete(id);
      await removeTopCgroup(runtime);
    } else {
      note({ end: { atNs: nowNs(), reason: `it could not be made, nor undone: ${failedUndos.join(", ")}` } });
      runtime.events.emit("created", id, id);
      runtime.events.emit("stopped", id, id);
    }
  });
  enterPhase("files");
  cleanup.add("remove the run directory", () => removeFiles(dir));
  cleanup.add("unmount the shared memory", () => unmountShm(dir));
  const writing = <T>(work: () => T): T => orStorageError(`write the files of the pod in ${dir}`, work);
  writing(() => makeFiles(dir, config, hostname, labels?.file));
  cleanup.add("remove the cgroups", () => removePodCgroup(runtime, record));
  if (image !== undefined) {
    enterPhase("snapshot");
    cleanup.add("remove the snapshot", () => runtime.snapshotter.remove(id));
    await runtime.snapshotter.prepare(
      id,
      image.layers.map(({ chainId }) => chainId),
    );
  }
  enterPhase("monitor");
  const monitor = await startMonitor(dir, id);
  cleanup.add("end the monitor", () => monitor.end().finally(() => monitor.disconnect()));
  hold({ monitor: monitor.identity });
  enterPhase("cgroup");
  await makePodCgroup(runtime, record, monitor.identity);
  cleanup.add("kill the pause", () => killPause(record));
  enterPhase("pause");
  const pause = await startPause(runtime, record, config, { hostname, identity, image }, monitor);
  hold({ pause, networkAttached: namespaces.network });
  await limitNewPod(runtime, record);
  if (namespaces.network) {
    enterPhase("network");
    using netns = openNamespace(record.pause?.pid ?? 0, "net");
    const pin = join(dir, "netns");
    cleanup.add("detach from the network", () => detachAfterPause(runtime, record));
    pinNamespace(netns.number, pin);
    const { addresses } = await runtime.network.attach(request, { fd: netns.number, pin });
    hold({ addresses });
    writing(() => writeHosts(dir, config, hostname, addresses));
  }
  enterPhase("plugins");
  cleanup.add("take back what plugins were told", () => runtime.plugins.removePodSandbox(record));
  await runtime.plugins.runPodSandbox(record);
  enterPhase("record");
  supervise(runtime, id, monitor);
  note({ readyAtNs: nowNs() });
  cleanup.release();
  runtime.events.emit("created", id, id);
  runtime.events.emit("started", id, id);
  const early = monitor.history(PAUSE_TAG)?.exit;
  if (early !== undefined) recordPauseDeath(runtime, id, early);
  return id;
}

export function labelsFor(
  { securityModules, sandboxes }: Runtime,
  config: PodSandboxConfig,
): PodLabels | undefined {
  const options = config.linux?.securityContext?.selinuxOptions;
  const others = sandboxes.list().flatMap(({ selinux }) => selinux ?? []);
  return podLabels("config.linux.security_context", options, securityModules.selinux, others);
}

function checkUserNamespace({ userNamespaces }: Runtime, config: PodSandboxConfig): void {
  if (podIdMappings(config) === undefined || userNamespaces.supported) return;
  throw new FailedPreconditionError(
    `config.linux.security_context.namespace_options.userns_options: this machine has no user namespaces for pods: ${userNamespaces.reason}`,
  );
}

/** The record of a sandbox that is to be made; nothing of it is there yet. */
export function newRecord(
  runtime: Runtime,
  config: PodSandboxConfig,
  runtimeHandler: string,
  image: ImageRecord | undefined,
  labels: PodLabels | undefined,
): SandboxRecord {
  const id = newId();
  const { name = "", namespace = "", uid = "", attempt = 0 } = config.metadata ?? {};
  return {
    id,
    name,
    namespace,
    uid,
    attempt,
    createdAtNs: nowNs(),
    runtimeHandler,
    config: keptSandboxConfig(config),
    bootId: runtime.bootId,
    ...placeOfPod(runtime, id, config),
    addresses: [],
    networkAttached: false,
    ...(labels === undefined ? {} : { selinux: labels }),
    ...(image === undefined
      ? {}
      : { image: { id: image.id, name: runtime.config.image.sandbox_image ?? "" } }),
  };
}

/**
 * Which namespaces of its own the pod has; the host name goes with the network. The pause has a pid namespace even
 * where each container has another: one that asks for the pod's must not end up in the machine's.
 */
export function namespacesOf(config: PodSandboxConfig): {
  network: boolean;
  ipc: boolean;
  uts: boolean;
  pid: boolean;
} {
  const options = config.linux?.securityContext?.namespaceOptions;
  const network = options?.network !== NamespaceMode.NODE;
  return {
    network,
    ipc: options?.ipc !== NamespaceMode.NODE,
    uts: network,
    pid: options?.pid !== NamespaceMode.NODE,
  };
}

async function startPause(
  runtime: Runtime,
  record: SandboxRecord,
  config: PodSandboxConfig,
  pause: {
    readonly hostname: string;
    readonly identity: Identity;
    readonly image: ImageRecord | undefined;
  },
  monitor: Monitor,
): Promise<{ pid: number; startTicks: string }> {
  const namespaces = namespacesOf(config);
  const mappings = podIdMappings(config);
  using passed = newPassedFds();
  const ofImage = pause.image && sandboxImageProcess(runtime, record, pause.image, config, pause.identity);
  if (ofImage !== undefined) passed.own(ofImage.process.root);
  const bareMounts = openBareMounts(runtime);
  const program = sandboxProgram(
    {
      label: `sandbox ${record.name}`,
      tag: PAUSE_TAG,
      newNamespaces: namespaces,
      hostname: pause.hostname,
      sysctls: sandboxSysctls(config, namespaces, mappings),
      oomScoreAdj: DEFAULT_OOM_SCORE,
      identity: ofImage?.identity ?? pause.identity,
      existingCapabilities: availableCapabilities(runtime, mappings),
      cgroup: placeIn(openCgroup(runtime.cgroups, record.cgroupPath), passed),
      rootMountPoint: rootMountPoint(runtime, mappings),
      rootLabel: record.selinux?.file,
      executableLabel: record.selinux && commonFileLabel(runtime.securityModules.selinux),
      bareMounts: bareMounts && passed.own(bareMounts),
      userNamespace: mappings && passed.own(newUserNamespace(mappings)),
      image: ofImage?.process,
    },
    passed,
  );
  await monitor.launch(program, passed.fds);
  const pid = monitor.history(PAUSE_TAG)?.pid;
  if (pid === undefined) throw new UnavailableError(`the monitor could not fork for sandbox ${record.name}`);
  const identity = identify(pid);
  if (identity === undefined)
    throw new InternalError(`the pause of sandbox ${record.name} ended as soon as it was started`);
  return identity;
}

function killPause(record: SandboxRecord): void {
  if (record.pause !== undefined) signal(record.pause, SIGNAL.SIGKILL);
}

async function detachAfterPause(runtime: Runtime, record: SandboxRecord): Promise<void> {
  killPause(record);
  await runtime.network.detach(record.id, join(podDir(runtime.paths, record.id), "netns"));
}
