// SPDX-License-Identifier: Apache-2.0
import * as names from "./names.ts";
import { ObjectMeta, status } from "./object-fields.ts";
import { boolean, integer, oneOf, portReference, string } from "./scalars.ts";
import { list, mapOf, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";

/*
 * A Service is a name here, which leads to its pods themselves, as a headless one does in a cluster: what speaks of
 * an address of its own, of ways to that address and of ports of the machine has no effect.
 */

const NO_PROXY = "has no effect: the name of a Service leads to its pods themselves";
const NO_NODE_PORT = "has no effect: a container's hostPort opens a port of the machine";

const ServicePort = record({
  name: string(names.dnsLabel),
  port: required(integer(1, 65_535)),
  targetPort: portReference(names.portName),
  protocol: oneOf("TCP", "UDP", "SCTP"),
  appProtocol: meaningless(NO_PROXY),
  nodePort: meaningless(NO_NODE_PORT),
});

const ServiceSpec = record({
  selector: mapOf(string(names.labelValue), 256, names.qualifiedName),
  ports: list(ServicePort, 256),
  publishNotReadyAddresses: boolean(),
  type: oneOf("ClusterIP", "NodePort", "LoadBalancer"),
  clusterIP: oneOf("None", ""),
  clusterIPs: list(oneOf("None"), 1),
  allocateLoadBalancerNodePorts: meaningless(NO_NODE_PORT),
  externalIPs: unsupported(),
  externalName: unsupported(),
  externalTrafficPolicy: meaningless(NO_PROXY),
  healthCheckNodePort: meaningless(NO_NODE_PORT),
  internalTrafficPolicy: meaningless(NO_PROXY),
  ipFamilies: meaningless(NO_PROXY),
  ipFamilyPolicy: meaningless(NO_PROXY),
  loadBalancerClass: meaningless(NO_NODE_PORT),
  loadBalancerIP: meaningless(NO_NODE_PORT),
  loadBalancerSourceRanges: meaningless(NO_NODE_PORT),
  sessionAffinity: meaningless(NO_PROXY),
  sessionAffinityConfig: meaningless(NO_PROXY),
  trafficDistribution: meaningless(NO_PROXY),
});

const Service = record({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Service")),
  metadata: required(ObjectMeta),
  spec: required(ServiceSpec),
  status,
});

export const SERVICE_FIELDS = { Service, ServiceSpec, ServicePort } as const;

export type ServiceManifest = TypeOf<typeof Service>;
export type ServicePortSpec = TypeOf<typeof ServicePort>;
