// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { CLUSTER_DOMAIN } from "../dns/zone.ts";
import type { IdRange } from "./host-ids.ts";
import type { PodSpec } from "./manifest/fields.ts";
import type { FailureRule, SuccessRule } from "./manifest/job-policy-fields.ts";
import type { PodObjects } from "./manifest/objects.ts";

/** A pod as it is kept: named, with a uid, otherwise as its manifest has it. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
  /** What the spec refers to; absent for a pod that an earlier podrt kept. */
  readonly objects?: PodObjects;
  /** The workload that asked for the pod, as in `Deployment/web`. */
  readonly owner?: string;
  readonly job?: JobPolicy;
  /** The file of the manifest directory that it is of; absent for one that a command asked for. */
  readonly file?: string;
  /** What it may have of the host, as permissions.ts has them; absent where it was not asked for. */
  readonly permissions?: readonly string[];
  /** The first of the machine's ids that its user namespace maps, given when it is kept; absent where it has the machine's. */
  readonly hostIds?: number;
}

/** When a CronJob runs its pod, by the fields of its spec (batch/v1) with their defaults. */
export interface CronPolicy {
  readonly schedule: string;
  /** Absent for the machine's. */
  readonly timeZone?: string;
  readonly concurrencyPolicy: "Allow" | "Forbid" | "Replace";
  readonly startingDeadlineSeconds?: number;
  readonly suspend: boolean;
  readonly successfulJobsHistoryLimit: number;
  readonly failedJobsHistoryLimit: number;
}

/** A pod that is run at its times, under its own name with the minute after it. */
export interface CronJob {
  readonly policy: CronPolicy;
  readonly pod: Pod;
}

/** What a Job's pod knows of the Job, by the fields of its spec (batch/v1). */
export interface JobPolicy {
  /** So many failures, of all pods of the Job, are followed by another attempt; the next one is the Job's. */
  readonly backoffLimit: number;
  /** Which of several pods it is, from 0; absent where it is the only one. */
  readonly index?: number;
  /** How many run at once; 1 unless told. */
  readonly parallelism?: number;
  /** No number of completions was asked for: one pod that succeeds is enough, once all have ended. */
  readonly isQueue?: boolean;
  /** `backoffLimit` is each pod's own (backoffLimitPerIndex), and so many pods may fail before the Job is given up. */
  readonly isLimitPerIndex?: boolean;
  readonly maxFailedIndexes?: number;
  /** What a failure means, by the first rule that fits it; and which successes are enough for the Job. */
  readonly failureRules?: readonly FailureRule[];
  readonly successRules?: readonly SuccessRule[];
  readonly suspend?: boolean;
  /** The pods are removed so long after the last has ended. */
  readonly ttlSecondsAfterFinished?: number;
}

/** The machine and the directories in which pods are kept. */
export interface PodHome {
  /** Of the instance: pods' directories, logs and seccomp profiles are below it. */
  readonly stateDir: string;
  readonly machineMemoryBytes: number;
  readonly cpuCount: number;
  /** What pods are told of the machine; its own addresses, the one that others reach it by first. */
  readonly nodeName: string;
  readonly hostAddresses: () => readonly string[];
  /** Text of the host's /etc/resolv.conf and /etc/hosts, read each time a sandbox is made. */
  readonly hostResolvConf: () => string;
  readonly hostHosts: () => string;
  /** Where a pod that is made now asks for names, of other pods too; undefined for the host's servers. */
  readonly nameServer: () => string | undefined;
  /** Ids of the machine that are somebody's: subordinate ones, and those that sandboxes map. */
  readonly takenIds: () => readonly IdRange[];
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

/** The directory of a volume that shows objects or fields of the pod. */
export function filesVolumePath(home: Pick<PodHome, "stateDir">, pod: Pod, volume: string): string {
  return join(podFilesDir(home, pod), "volumes", "files", volume);
}

/** The directory that stands for a PersistentVolumeClaim; it stays when the pods that use it are gone. */
export function claimPath(home: Pick<PodHome, "stateDir">, namespace: string, claim: string): string {
  return join(claimsDir(home), namespace, claim);
}

/** Below it `NAMESPACE/NAME`; names that begin with a dot are podrt's own. */
export function claimsDir(home: Pick<PodHome, "stateDir">): string {
  return join(home.stateDir, "claims");
}

/** As the kubelet lays out logs; below it `CONTAINER/ATTEMPT.log`. */
export function podLogsDir(home: Pick<PodHome, "stateDir">, pod: Pod): string {
  return join(home.stateDir, "logs", `${pod.namespace}_${pod.name}_${pod.uid}`);
}

/** The names of a pod in its /etc/hosts: with a subdomain the full one first; at most 63 characters for the short one. */
export function podHostnames(pod: Pod): string[] {
  const short = (pod.spec.hostname ?? pod.name).slice(0, 63).replace(/[-.]+$/, "");
  const { subdomain } = pod.spec;
  return subdomain === undefined
    ? [short]
    : [`${short}.${subdomain}.${pod.namespace}.svc.${CLUSTER_DOMAIN}`, short];
}

/** The host name of a pod; the host's own with hostNetwork. */
export function podHostname(pod: Pod): string {
  if (pod.spec.hostnameOverride !== undefined) return pod.spec.hostnameOverride;
  const names = podHostnames(pod);
  return pod.spec.setHostnameAsFQDN ? names[0]! : names.at(-1)!;
}

const DEFAULT_GRACE_SECONDS = 30;

/** What the pod's containers have between the stop signal and SIGKILL unless somebody says otherwise. */
export function graceSecondsOf({ spec }: Pod): number {
  return spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
}
