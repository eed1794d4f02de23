// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import type { PodSpec } from "./manifest/fields.ts";

/** A pod as it is kept: named, with a uid, otherwise as its manifest has it. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
}

/** The machine and the directories in which pods are kept. */
export interface PodHome {
  /** Of the instance: pods' directories, logs and seccomp profiles are below it. */
  readonly stateDir: string;
  readonly machineMemoryBytes: number;
  readonly cpuCount: number;
  /** Text of the host's /etc/resolv.conf and /etc/hosts, read each time a sandbox is made. */
  readonly hostResolvConf: () => string;
  readonly hostHosts: () => string;
}

/** How a pod is addressed and recorded: `namespace/name`. */
export function podKey({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}

/** The volumes and files that are a pod's own, gone with it. */
export function podFilesDir(home: Pick<PodHome, "stateDir">, pod: Pod): string {
  return join(home.stateDir, "pods", pod.uid);
}

export function hostsFile(home: Pick<PodHome, "stateDir">, pod: Pod): string {
  return join(podFilesDir(home, pod), "etc-hosts");
}

export function emptyDirPath(home: Pick<PodHome, "stateDir">, pod: Pod, volume: string): string {
  return join(podFilesDir(home, pod), "volumes", "empty-dir", volume);
}

/** As the kubelet lays out logs; below it `CONTAINER/ATTEMPT.log`. */
export function podLogsDir(home: Pick<PodHome, "stateDir">, pod: Pod): string {
  return join(home.stateDir, "logs", `${pod.namespace}_${pod.name}_${pod.uid}`);
}

/** The host name of a pod: at most 63 characters, not ending in `-` or `.`; the host's own with hostNetwork. */
export function podHostname(pod: Pod): string {
  return (pod.spec.hostname ?? pod.name).slice(0, 63).replace(/[-.]+$/, "");
}

const DEFAULT_GRACE_SECONDS = 30;

/** What the pod's containers have between the stop signal and SIGKILL unless somebody says otherwise. */
export function graceSecondsOf({ spec }: Pod): number {
  return spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
}
