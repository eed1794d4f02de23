// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { parseQuantity } from "../lib/quantity.ts";
import type { PodRequest } from "../network/attachment.ts";
import type { NetworkConf } from "./conf.ts";

/*
 * What a pod's configuration says that plugins may want to know, in the words of the conventions for CNI
 * (CONVENTIONS.md of containernetworking/cni) and of the Kubernetes runtimes before podrt.
 */

const INGRESS = "kubernetes.io/ingress-bandwidth";
const EGRESS = "kubernetes.io/egress-bandwidth";
/** Kubernetes' own bounds, in bits a second. */
const SLOWEST = 1000;
const FASTEST = 1e15;
/** Bits that may pass at once: no bound of its own, in the largest number that the plugin of that name takes. */
const BURST = 0xffff_ffff;

/** CNI_ARGS: who the pod is. Plugins that do not know one of them are to leave it alone. */
export function cniArguments({ sandboxId, pod }: PodRequest): Record<string, string> {
  const named = { K8S_POD_NAMESPACE: pod.namespace, K8S_POD_NAME: pod.name, K8S_POD_UID: pod.uid };
  for (const [name, value] of Object.entries(named)) {
    if (/[;=]/.test(value)) {
      throw new InvalidArgumentError(
        "config.metadata",
        `${JSON.stringify(value)} has a ";" or "=", which divide the arguments of CNI plugins (${name})`,
      );
    }
  }
  return {
    IgnoreUnknown: "1",
    K8S_POD_NAMESPACE: pod.namespace,
    K8S_POD_NAME: pod.name,
    K8S_POD_INFRA_CONTAINER_ID: sandboxId,
    K8S_POD_UID: pod.uid,
  };
}

/** What there is to say under each name of a capability; `podCidrs` are the cluster's for this node. */
export function capabilityArguments(
  request: PodRequest,
  podCidrs: readonly string[],
): Record<string, unknown> {
  const { hostPorts, annotations, dns, cgroupPath } = request;
  const bandwidth = bandwidthOf(annotations);
  return {
    ...(hostPorts.length === 0
      ? {}
      : { portMappings: hostPorts.map(({ hostIp = "", ...port }) => ({ ...port, hostIP: hostIp })) }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(dns === undefined ? {} : { dns }),
    ...(podCidrs.length === 0 ? {} : { ipRanges: podCidrs.map((subnet) => [{ subnet }]) }),
    ...(Object.keys(annotations).length === 0 ? {} : { "io.kubernetes.cri.pod-annotations": annotations }),
    cgroupPath,
  };
}

/** The names of capabilities that some plugin of the network has. */
export function capabilitiesOf({ plugins }: NetworkConf): Set<string> {
  const wanted = plugins.flatMap(({ capabilities = {} }) => Object.entries(capabilities));
  return new Set(wanted.filter(([, isWanted]) => isWanted).map(([name]) => name));
}

function bandwidthOf(annotations: Readonly<Record<string, string>>): object | undefined {
  const [ingress, egress] = [INGRESS, EGRESS].map((name) => rateOf(name, annotations[name]));
  if (ingress === undefined && egress === undefined) return undefined;
  return {
    ...(ingress === undefined ? {} : { ingressRate: ingress, ingressBurst: BURST }),
    ...(egress === undefined ? {} : { egressRate: egress, egressBurst: BURST }),
  };
}

function rateOf(annotation: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bits = parseQuantity(text);
  if (bits !== undefined && bits >= SLOWEST && bits <= FASTEST) return Math.ceil(bits);
  throw new InvalidArgumentError(
    `config.annotations[${annotation}]`,
    `${JSON.stringify(text)} is no rate from 1k to 1P in bits a second, as in 10M`,
  );
}
