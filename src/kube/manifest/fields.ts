// SPDX-License-Identifier: Apache-2.0
import { ACTION_FIELDS } from "./action-fields.ts";
import { CONTAINER_FIELDS } from "./container-fields.ts";
import * as names from "./names.ts";
import { OBJECT_FIELDS, ObjectMeta, status } from "./object-fields.ts";
import { boolean, integer, oneOf, only, string } from "./scalars.ts";
import { list, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";
import { ID_MAX, PodSecurityContext, SECURITY_FIELDS } from "./security-fields.ts";
import { VALUE_FIELDS } from "./value-fields.ts";
import { VOLUME_FIELDS } from "./volume-fields.ts";

/*
 * What podrt honours of the Kubernetes API. This table is the only place that says so: the reader
 * follows it, and a field that is not in it, or stands here as unsupported, is refused by name.
 * `only(x)` is for a field whose default is all that podrt does; `meaningless` for one that speaks of
 * a cluster, which is told to whoever runs the manifest and otherwise without effect.
 */

const ONE_MACHINE = "has no effect: there is only this machine";
const NO_API_SERVER = "has no effect: there is no API server";

const EPHEMERAL =
  "cannot be set when a pod is made, here as in Kubernetes; `podrt debug POD` joins a container with tools to one that runs";
const GATED = "is not supported: nobody would take a gate away; leave it out";
const NO_CONDITIONS = "has no effect: nobody sets conditions of pods here";

const PodDNSConfig = record({
  nameservers: list(string(names.ipAddress), 3),
  searches: list(string(names.dnsSubdomain), 32),
  options: list(record({ name: required(string()), value: string() }), 64),
});

const HostAlias = record({
  ip: required(string(names.ipAddress)),
  hostnames: list(string(names.dnsSubdomain), 256),
});

export const PodSpec = record({
  containers: required(list(CONTAINER_FIELDS.Container, 100, 1)),
  initContainers: list(CONTAINER_FIELDS.InitContainer, 100),
  ephemeralContainers: unsupported(EPHEMERAL),
  volumes: list(VOLUME_FIELDS.Volume, 256),
  restartPolicy: oneOf("Always", "OnFailure", "Never"),
  terminationGracePeriodSeconds: integer(0, 86_400),
  hostname: string(names.dnsLabel),
  subdomain: string(names.dnsLabel),
  setHostnameAsFQDN: boolean(),
  hostNetwork: boolean(),
  hostPID: boolean(),
  hostIPC: boolean(),
  hostUsers: boolean(),
  shareProcessNamespace: boolean(),
  hostAliases: list(HostAlias, 1024),
  dnsPolicy: oneOf("Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"),
  dnsConfig: PodDNSConfig,
  securityContext: PodSecurityContext,
  imagePullSecrets: list(record({ name: required(string(names.dnsSubdomain)) }), 64),
  runtimeClassName: string(names.dnsSubdomain),
  automountServiceAccountToken: meaningless(NO_API_SERVER),
  // Without a cluster there is no service to link, so either value does what Kubernetes would.
  enableServiceLinks: boolean(),
  os: record({ name: required(only("linux")) }),
  activeDeadlineSeconds: integer(1, ID_MAX),
  affinity: meaningless(ONE_MACHINE),
  hostnameOverride: string(names.dnsSubdomain),
  nodeName: meaningless(ONE_MACHINE),
  nodeSelector: meaningless(ONE_MACHINE),
  overhead: meaningless("has no effect: a runtime class sets it, and there are none with one"),
  preemptionPolicy: meaningless(ONE_MACHINE),
  priority: meaningless(ONE_MACHINE),
  priorityClassName: meaningless(ONE_MACHINE),
  readinessGates: meaningless(NO_CONDITIONS),
  resourceClaims: unsupported(),
  resources: CONTAINER_FIELDS.PodResources,
  schedulerName: meaningless(ONE_MACHINE),
  schedulingGates: unsupported(GATED),
  serviceAccount: meaningless(NO_API_SERVER),
  serviceAccountName: meaningless(NO_API_SERVER),
  tolerations: meaningless(ONE_MACHINE),
  topologySpreadConstraints: meaningless(ONE_MACHINE),
  workloadRef: meaningless(ONE_MACHINE),
});

const Pod = record({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Pod")),
  metadata: required(ObjectMeta),
  spec: required(PodSpec),
  status,
});

/** By the names of the Kubernetes API reference. */
export const FIELDS = {
  Pod,
  ...OBJECT_FIELDS,
  PodSpec,
  ...CONTAINER_FIELDS,
  ...VALUE_FIELDS,
  ...SECURITY_FIELDS,
  ...ACTION_FIELDS,
  ...VOLUME_FIELDS,
  PodDNSConfig,
  HostAlias,
} as const;

/** A Pod as its manifest has it: quantities are numbers (thousandths of a CPU, bytes), nothing is filled in. */
export type PodManifest = TypeOf<typeof Pod>;
export type PodSpec = TypeOf<typeof PodSpec>;
