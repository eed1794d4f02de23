// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../../errors.ts";
import { parseBytes, parseMilliCpu } from "../../lib/quantity.ts";
import { parseReference } from "../../oci/reference.ts";
import * as names from "./names.ts";
import { nearMiss } from "./near-miss.ts";
import { boolean, integer, oneOf, only, portReference, quantity, string } from "./scalars.ts";
import { list, mapOf, record, required, type TypeOf, unsupported } from "./schema.ts";
import { SIGNALS } from "./signals.ts";

/*
 * What podrt honours of the Kubernetes API, core/v1 Pod. This table is the only place that says so:
 * the reader follows it, and a field that is not in it, or stands here as unsupported, is refused by
 * name. `only(x)` is for a field whose default is all that podrt does.
 */

const ID_MAX = 2_147_483_647;
const strings = (max = 1024) => list(string(), max);
const bytes = quantity("a quantity as in 128Mi", parseBytes);
const stopSignal = string((name) => {
  if (SIGNALS.has(name)) return undefined;
  const meant = nearMiss(name, SIGNALS.keys());
  return `expected a signal, got ${JSON.stringify(name)}; did you mean ${meant ?? "SIGTERM"}?`;
});

/** The host's part of a reference may be left out, as everywhere. */
const imageReference = string((text) => {
  try {
    parseReference(text, "");
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
});

const ObjectMeta = record({
  name: string(names.dnsSubdomain),
  generateName: string(names.namePrefix),
  namespace: string(names.dnsLabel),
  uid: string(names.uid),
  labels: mapOf(string(names.labelValue), 256, names.qualifiedName),
  annotations: mapOf(string(), 256, names.qualifiedName),
  creationTimestamp: unsupported("is set by Kubernetes, leave it out"),
  deletionGracePeriodSeconds: unsupported("is set by Kubernetes, leave it out"),
  deletionTimestamp: unsupported("is set by Kubernetes, leave it out"),
  finalizers: unsupported(),
  generation: unsupported("is set by Kubernetes, leave it out"),
  managedFields: unsupported("is set by Kubernetes, leave it out"),
  ownerReferences: unsupported(),
  resourceVersion: unsupported("is set by Kubernetes, leave it out"),
  selfLink: unsupported("is set by Kubernetes, leave it out"),
});

const EnvVar = record({
  name: required(string(names.environmentName)),
  value: string(),
  valueFrom: unsupported(),
});

const ContainerPort = record({
  name: string(names.portName),
  containerPort: required(integer(1, 65_535)),
  hostPort: integer(1, 65_535),
  hostIP: string(names.ipAddress),
  protocol: oneOf("TCP", "UDP", "SCTP"),
});

const ResourceList = record({
  cpu: quantity("an amount of CPU as in 500m", parseMilliCpu),
  memory: bytes,
  "hugepages-2Mi": bytes,
  "hugepages-1Gi": bytes,
  "ephemeral-storage": unsupported(),
});

const ResourceRequirements = record({ limits: ResourceList, requests: ResourceList, claims: unsupported() });

const SeccompProfile = record({
  type: required(oneOf("RuntimeDefault", "Unconfined", "Localhost")),
  localhostProfile: string(names.relativePath),
});

const Capabilities = record({
  add: list(string(names.capability), 64),
  drop: list(string(names.capability), 64),
});

const SecurityContext = record({
  allowPrivilegeEscalation: boolean(),
  appArmorProfile: unsupported(),
  capabilities: Capabilities,
  privileged: boolean(),
  procMount: only("Default"),
  readOnlyRootFilesystem: boolean(),
  runAsGroup: integer(0, ID_MAX),
  runAsNonRoot: boolean(),
  runAsUser: integer(0, ID_MAX),
  seLinuxOptions: unsupported(),
  seccompProfile: SeccompProfile,
  windowsOptions: unsupported("is for Windows"),
});

const VolumeMount = record({
  name: required(string(names.dnsLabel)),
  mountPath: required(string(names.absolutePath)),
  mountPropagation: oneOf("None", "HostToContainer", "Bidirectional"),
  readOnly: boolean(),
  recursiveReadOnly: only("Disabled"),
  subPath: unsupported(),
  subPathExpr: unsupported(),
});

const port = portReference(names.portName);
const ExecAction = record({ command: required(list(string(), 1024, 1)) });
const HTTPHeader = record({
  name: required(string(names.headerName)),
  value: required(string(names.headerValue)),
});
const HTTPGetAction = record({
  host: string(names.ipAddress),
  httpHeaders: list(HTTPHeader, 64),
  path: string(names.urlPath),
  port: required(port),
  scheme: oneOf("HTTP", "HTTPS"),
});
const TCPSocketAction = record({ host: string(names.ipAddress), port: required(port) });
const GRPCAction = record({ port: required(integer(1, 65_535)), service: string() });

const SECONDS_MAX = 86_400;
const Probe = record({
  exec: ExecAction,
  httpGet: HTTPGetAction,
  tcpSocket: TCPSocketAction,
  grpc: GRPCAction,
  initialDelaySeconds: integer(0, SECONDS_MAX),
  periodSeconds: integer(1, SECONDS_MAX),
  timeoutSeconds: integer(1, SECONDS_MAX),
  successThreshold: integer(1, 10_000),
  failureThreshold: integer(1, 10_000),
  terminationGracePeriodSeconds: integer(1, SECONDS_MAX),
});

const SleepAction = record({ seconds: required(integer(0, SECONDS_MAX)) });
const LifecycleHandler = record({
  exec: ExecAction,
  httpGet: HTTPGetAction,
  sleep: SleepAction,
  tcpSocket: unsupported("does nothing in Kubernetes, leave it out"),
});
const Lifecycle = record({ postStart: LifecycleHandler, preStop: LifecycleHandler, stopSignal });

const containerShape = {
  name: required(string(names.dnsLabel)),
  image: required(imageReference),
  imagePullPolicy: oneOf("Always", "IfNotPresent", "Never"),
  command: strings(),
  args: strings(),
  workingDir: string(names.absolutePath),
  env: list(EnvVar, 4096),
  envFrom: unsupported(),
  ports: list(ContainerPort, 256),
  resources: ResourceRequirements,
  resizePolicy: unsupported(),
  restartPolicyRules: unsupported(),
  securityContext: SecurityContext,
  lifecycle: Lifecycle,
  livenessProbe: Probe,
  readinessProbe: Probe,
  startupProbe: Probe,
  stdin: boolean(),
  stdinOnce: boolean(),
  tty: boolean(),
  terminationMessagePath: string(names.absolutePath),
  terminationMessagePolicy: oneOf("File", "FallbackToLogsOnError"),
  volumeMounts: list(VolumeMount, 256),
  volumeDevices: unsupported(),
} as const;

const Container = record({
  ...containerShape,
  restartPolicy: unsupported("is not supported yet for a single container, only for the pod"),
});

/** One with `restartPolicy: Always` is a sidecar. */
const InitContainer = record({ ...containerShape, restartPolicy: oneOf("Always") });

const HostPathVolumeSource = record({
  path: required(string(names.absolutePath)),
  type: oneOf(
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
  ),
});

const Volume = record({
  name: required(string(names.dnsLabel)),
  emptyDir: record({ medium: unsupported(), sizeLimit: unsupported() }),
  hostPath: HostPathVolumeSource,
  awsElasticBlockStore: unsupported(),
  azureDisk: unsupported(),
  azureFile: unsupported(),
  cephfs: unsupported(),
  cinder: unsupported(),
  configMap: unsupported(),
  csi: unsupported(),
  downwardAPI: unsupported(),
  ephemeral: unsupported(),
  fc: unsupported(),
  flexVolume: unsupported(),
  flocker: unsupported(),
  gcePersistentDisk: unsupported(),
  gitRepo: unsupported(),
  glusterfs: unsupported(),
  image: unsupported(),
  iscsi: unsupported(),
  nfs: unsupported(),
  persistentVolumeClaim: unsupported(),
  photonPersistentDisk: unsupported(),
  portworxVolume: unsupported(),
  projected: unsupported(),
  quobyte: unsupported(),
  rbd: unsupported(),
  scaleIO: unsupported(),
  secret: unsupported(),
  storageos: unsupported(),
  vsphereVolume: unsupported(),
});

const PodSecurityContext = record({
  appArmorProfile: unsupported(),
  fsGroup: integer(0, ID_MAX),
  fsGroupChangePolicy: unsupported(),
  runAsGroup: integer(0, ID_MAX),
  runAsNonRoot: boolean(),
  runAsUser: integer(0, ID_MAX),
  seLinuxChangePolicy: unsupported(),
  seLinuxOptions: unsupported(),
  seccompProfile: SeccompProfile,
  supplementalGroups: list(integer(0, ID_MAX), 1024),
  supplementalGroupsPolicy: oneOf("Merge", "Strict"),
  sysctls: list(record({ name: required(string(names.sysctlName)), value: required(string()) }), 256),
  windowsOptions: unsupported("is for Windows"),
});

const PodDNSConfig = record({
  nameservers: list(string(names.ipAddress), 3),
  searches: list(string(names.dnsSubdomain), 32),
  options: list(record({ name: required(string()), value: string() }), 64),
});

const HostAlias = record({
  ip: required(string(names.ipAddress)),
  hostnames: list(string(names.dnsSubdomain), 256),
});

const PodSpec = record({
  containers: required(list(Container, 100, 1)),
  initContainers: list(InitContainer, 100),
  ephemeralContainers: unsupported(),
  volumes: list(Volume, 256),
  restartPolicy: oneOf("Always", "OnFailure", "Never"),
  terminationGracePeriodSeconds: integer(0, 86_400),
  hostname: string(names.dnsLabel),
  hostNetwork: boolean(),
  hostPID: boolean(),
  hostIPC: boolean(),
  hostUsers: only(true),
  shareProcessNamespace: boolean(),
  hostAliases: list(HostAlias, 1024),
  dnsPolicy: oneOf("Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"),
  dnsConfig: PodDNSConfig,
  securityContext: PodSecurityContext,
  automountServiceAccountToken: only(false),
  // Without a cluster there is no service to link, so either value does what Kubernetes would.
  enableServiceLinks: boolean(),
  os: record({ name: required(only("linux")) }),
  activeDeadlineSeconds: integer(1, ID_MAX),
  affinity: unsupported(),
  hostnameOverride: unsupported(),
  imagePullSecrets: unsupported(),
  nodeName: unsupported("is not supported: there is only this machine"),
  nodeSelector: unsupported("is not supported: there is only this machine"),
  overhead: unsupported(),
  preemptionPolicy: unsupported(),
  priority: unsupported(),
  priorityClassName: unsupported(),
  readinessGates: unsupported(),
  resourceClaims: unsupported(),
  resources: unsupported("is not supported yet for a whole pod, only for containers"),
  runtimeClassName: unsupported(),
  schedulerName: unsupported("is not supported: there is only this machine"),
  schedulingGates: unsupported(),
  serviceAccount: unsupported("is not supported: there is no API server"),
  serviceAccountName: unsupported("is not supported: there is no API server"),
  setHostnameAsFQDN: only(false),
  subdomain: unsupported(),
  tolerations: unsupported("is not supported: there is only this machine"),
  topologySpreadConstraints: unsupported("is not supported: there is only this machine"),
  workloadRef: unsupported(),
});

const Pod = record({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Pod")),
  metadata: required(ObjectMeta),
  spec: required(PodSpec),
  status: unsupported("is written by Kubernetes, leave it out"),
});

/** By the names of the Kubernetes API reference. */
export const FIELDS = {
  Pod,
  ObjectMeta,
  PodSpec,
  Container,
  InitContainer,
  EnvVar,
  ContainerPort,
  ResourceRequirements,
  ResourceList,
  SecurityContext,
  Capabilities,
  SeccompProfile,
  Lifecycle,
  LifecycleHandler,
  SleepAction,
  Probe,
  ExecAction,
  HTTPGetAction,
  HTTPHeader,
  TCPSocketAction,
  GRPCAction,
  VolumeMount,
  Volume,
  HostPathVolumeSource,
  PodSecurityContext,
  PodDNSConfig,
  HostAlias,
} as const;

/** A Pod as its manifest has it: quantities are numbers (thousandths of a CPU, bytes), nothing is filled in. */
export type PodManifest = TypeOf<typeof Pod>;
export type PodSpec = TypeOf<typeof PodSpec>;
/** A container or an init container: only the latter may have a restartPolicy. */
export type ContainerSpec = TypeOf<typeof InitContainer>;
export type VolumeSpec = TypeOf<typeof Volume>;
export type ProbeSpec = TypeOf<typeof Probe>;
export type HttpGetSpec = TypeOf<typeof HTTPGetAction>;
export type SecurityContextSpec = TypeOf<typeof SecurityContext>;
