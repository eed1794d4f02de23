// SPDX-License-Identifier: Apache-2.0
import { podCgroup } from "../container/records.ts";
import { type PodSandboxConfig, Protocol } from "../gen/runtime/v1/api_pb.ts";
import type { HostPort, PodRequest } from "../network/attachment.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";

/** What the pod's configuration asks of the network. */
export function podRequest(record: SandboxRecord, config: PodSandboxConfig): PodRequest {
  const { id, name, namespace, uid } = record;
  const { dnsConfig: dns, annotations } = config;
  return {
    sandboxId: id,
    pod: { name, namespace, uid },
    hostPorts: hostPorts(config),
    annotations,
    ...(dns === undefined
      ? {}
      : { dns: { servers: dns.servers, searches: dns.searches, options: dns.options } }),
    cgroupPath: podCgroup(record),
  };
}

const PROTOCOLS: Readonly<Record<number, HostPort["protocol"]>> = {
  [Protocol.TCP]: "tcp",
  [Protocol.UDP]: "udp",
  [Protocol.SCTP]: "sctp",
};

function hostPorts(config: PodSandboxConfig): HostPort[] {
  return config.portMappings
    .filter((mapping) => mapping.hostPort > 0)
    .map((mapping) => ({
      protocol: PROTOCOLS[mapping.protocol] ?? "tcp",
      containerPort: mapping.containerPort,
      hostPort: mapping.hostPort,
      ...(mapping.hostIp === "" ? {} : { hostIp: mapping.hostIp }),
    }));
}
