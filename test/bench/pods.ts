// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode, SecurityProfile_ProfileType } from "../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { busybox, type ContainerConfig, type SandboxConfig } from "../integration/harness/pods.ts";
import type { Peer } from "./peers/peer.ts";

/*
 * Pods as a kubelet asks for them: a control group of their own, names of a cluster's services, the runtime's default
 * seccomp profile, and the files and volumes that every container of a cluster has mounted.
 */

export type PodNetwork = "bridge" | "host";

/**
 * Ends at SIGTERM, as an application should, also as the first process of its namespace; `untilReady` says when it has
 * come so far. A runtime that is fast enough would stop it before, and wait for its end in vain.
 */
export const OBEDIENT = [
  "sh",
  "-c",
  "trap 'exit 0' TERM; echo ready >/dev/termination-log; sleep 86400 & wait",
];
const TERMINATION_LOG = "termination-log";
export const IDLE = ["sleep", "86400"];

const seccomp = { profileType: SecurityProfile_ProfileType.RuntimeDefault };
const maskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
];
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** A pod of a peer that runs, with what its containers need to know of it. */
export interface Pod {
  readonly id: string;
  readonly name: string;
  readonly config: SandboxConfig;
  readonly dir: string;
}

/** Everything of a pod that the kubelet prepares before it calls the runtime. */
export function preparePod(peer: Peer, name: string, network: PodNetwork): Omit<Pod, "id"> {
  const dir = join(peer.dir, "pods", name);
  for (const sub of ["logs", "token"]) mkdirSync(join(dir, sub), { recursive: true });
  writeFileSync(join(dir, "hosts"), "127.0.0.1 localhost\n");
  writeFileSync(join(dir, TERMINATION_LOG), "");
  writeFileSync(join(dir, "token/token"), "token");
  const config = {
    metadata: { name, namespace: "default", uid: `uid-${name}` },
    ...(network === "bridge" ? { hostname: name } : {}),
    logDirectory: join(dir, "logs"),
    dnsConfig: {
      servers: ["10.96.0.10"],
      searches: ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"],
      options: ["ndots:5"],
    },
    labels: { "io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": "default" },
    linux: {
      cgroupParent: peer.group.makePod(name),
      securityContext: {
        namespaceOptions: {
          network: network === "host" ? NamespaceMode.NODE : NamespaceMode.POD,
          pid: NamespaceMode.CONTAINER,
        },
        seccomp,
      },
      resources: { cpuPeriod: 100_000n, cpuShares: 2n },
    },
  } as SandboxConfig;
  return { name, config, dir };
}

/** Asks the peer for the pod, and for nothing else: this is what is timed. */
export async function runPod(peer: Peer, prepared: Omit<Pod, "id">): Promise<Pod> {
  const { podSandboxId: id } = await peer.api.runPodSandbox({ config: prepared.config });
  return { ...prepared, id };
}

export async function createContainer(
  peer: Peer,
  pod: Pod,
  name: string,
  command: readonly string[],
  more: ContainerConfig = {},
): Promise<string> {
  const mount = (hostPath: string, containerPath: string, readonly = false) => ({
    hostPath: join(pod.dir, hostPath),
    containerPath,
    readonly,
  });
  const config = {
    metadata: { name },
    image: { image: busybox },
    command: [...command],
    envs: [
      { key: "KUBERNETES_SERVICE_HOST", value: Buffer.from("10.96.0.1") },
      { key: "KUBERNETES_SERVICE_PORT", value: Buffer.from("443") },
    ],
    labels: { "io.kubernetes.container.name": name, "io.kubernetes.pod.name": pod.name },
    logPath: `${name}.log`,
    linux: {
      resources: { cpuPeriod: 100_000n, cpuShares: 2n, oomScoreAdj: 1000n },
      securityContext: {
        namespaceOptions: pod.config.linux?.securityContext?.namespaceOptions,
        seccomp,
        maskedPaths,
        readonlyPaths,
      },
    },
    ...more,
    mounts: [
      mount("hosts", "/etc/hosts"),
      mount(TERMINATION_LOG, "/dev/termination-log"),
      mount("token", "/var/run/secrets/kubernetes.io/serviceaccount", true),
      ...(more.mounts ?? []),
    ],
  } as ContainerConfig;
  const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
  return (await peer.api.createContainer(request as never)).containerId;
}

export async function startContainer(
  peer: Peer,
  pod: Pod,
  name: string,
  command: readonly string[],
  more: ContainerConfig = {},
): Promise<string> {
  const containerId = await createContainer(peer, pod, name, command, more);
  await peer.api.startContainer({ containerId });
  return containerId;
}

export async function untilReady({ dir }: Pod): Promise<void> {
  await eventually(
    "the application runs",
    () => readFileSync(join(dir, TERMINATION_LOG), "utf8") !== "",
    60_000,
    1,
  );
}

export async function stopContainer({ api }: Peer, containerId: string): Promise<void> {
  await api.stopContainer({ containerId, timeout: 30n });
  await api.removeContainer({ containerId });
}

/** As timed: the two calls. */
export async function stopPod({ api }: Peer, { id: podSandboxId }: Pod): Promise<void> {
  await api.stopPodSandbox({ podSandboxId });
  await api.removePodSandbox({ podSandboxId });
}

/** What the kubelet does when the pod is gone. */
export const forgetPod = (peer: Peer, { name }: Pick<Pod, "name">) => peer.group.removePod(name);
