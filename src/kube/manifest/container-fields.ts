// SPDX-License-Identifier: Apache-2.0
import { parseBytes, parseMilliCpu } from "../../lib/quantity.ts";
import { Lifecycle, Probe } from "./action-fields.ts";
import * as names from "./names.ts";
import { boolean, integer, oneOf, only, quantity, string } from "./scalars.ts";
import { list, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";
import { SecurityContext } from "./security-fields.ts";
import { EnvFromSource, EnvVar, imageReference } from "./value-fields.ts";
import { VOLUME_FIELDS } from "./volume-fields.ts";

const NOT_SCHEDULED = "has no effect: there is only this machine";
const bytes = quantity("a quantity as in 128Mi", parseBytes);
const words = list(string(), 1024);

const ContainerPort = record({
  name: string(names.portName),
  containerPort: required(integer(1, 65_535)),
  hostPort: integer(1, 65_535),
  hostIP: string(names.ipAddress),
  protocol: oneOf("TCP", "UDP", "SCTP"),
});

const podResourceList = {
  cpu: quantity("an amount of CPU as in 500m", parseMilliCpu),
  memory: bytes,
  "hugepages-2Mi": bytes,
  "hugepages-1Gi": bytes,
} as const;

const resourceList = { ...podResourceList, "ephemeral-storage": bytes } as const;

const ONLY_CONTAINERS = "is not for a whole pod, here as in Kubernetes, only for containers";

/** Of a pod as a whole, what its containers share. */
const PodResources = record({
  limits: record({ ...podResourceList, "ephemeral-storage": unsupported(ONLY_CONTAINERS) }),
  requests: record({ ...podResourceList, "ephemeral-storage": unsupported(ONLY_CONTAINERS) }),
  claims: unsupported(),
});

const ResourceRequirements = record({
  limits: record(resourceList),
  requests: record({ ...resourceList, "ephemeral-storage": meaningless(NOT_SCHEDULED) }),
  claims: unsupported(),
});

/** By its exit code a container is started again although its restartPolicy would leave it. */
const ContainerRestartRule = record({
  action: required(only("Restart")),
  exitCodes: required(
    record({ operator: required(oneOf("In", "NotIn")), values: list(integer(0, 2_147_483_647), 255) }),
  ),
});

const containerShape = {
  name: required(string(names.dnsLabel)),
  image: required(imageReference, "name an image, as in nginx:latest"),
  imagePullPolicy: oneOf("Always", "IfNotPresent", "Never"),
  command: words,
  args: words,
  workingDir: string(names.absolutePath),
  env: list(EnvVar, 4096),
  envFrom: list(EnvFromSource, 256),
  ports: list(ContainerPort, 256),
  resources: ResourceRequirements,
  resizePolicy: meaningless("has no effect: resources are as the pod was made with"),
  restartPolicyRules: list(ContainerRestartRule, 20),
  /** Instead of the pod's. */
  restartPolicy: oneOf("Always", "OnFailure", "Never"),
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
  volumeMounts: list(VOLUME_FIELDS.VolumeMount, 256),
  volumeDevices: unsupported(),
} as const;

const Container = record(containerShape);

/** One with `restartPolicy: Always` is a sidecar. */
const InitContainer = record({ ...containerShape });

export const CONTAINER_FIELDS = {
  Container,
  InitContainer,
  ContainerPort,
  ContainerRestartRule,
  ResourceRequirements,
  PodResources,
  ResourceList: record(resourceList),
} as const;

export type ContainerSpec = TypeOf<typeof InitContainer>;
