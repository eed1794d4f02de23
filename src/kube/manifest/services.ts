// SPDX-License-Identifier: Apache-2.0
import { allContainers } from "../container-order.ts";
import type { Report } from "./checks.ts";
import type { PodManifest, PodSpec } from "./fields.ts";
import { dnsLabel } from "./names.ts";
import type { ServiceManifest, ServicePortSpec } from "./service-fields.ts";

/** A name that leads to a pod, as the pod takes it along. */
export interface ServiceName {
  readonly name: string;
  /** Also while the pod is not ready. */
  readonly publishNotReadyAddresses: boolean;
  /** Absent in a pod that an earlier podrt kept. */
  readonly ports?: readonly ServicePort[];
}

/** A port of a Service's, and the one of its pods that it stands for: a number, or the name of a container's port. */
export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly target: number | string;
  readonly protocol: string;
}

interface Service extends ServiceName {
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly ServicePort[];
  /** Tells whoever runs the manifest of what is right and perhaps not what was meant. */
  readonly note: Report;
  /** What was told already. */
  readonly told: Set<string>;
  hasPods: boolean;
}

/** The Services of a manifest. */
export class ServiceSet {
  readonly #services = new Map<string, Service>();

  add({ metadata, spec }: ServiceManifest, report: Report, note: Report): void {
    const { name = "", namespace = "default" } = metadata;
    const key = `${namespace}/${name}`;
    const wrong = name === "" ? "is required" : dnsLabel(name);
    if (wrong !== undefined) report("metadata.name", wrong);
    else if (this.#services.has(key)) report("metadata.name", `the Service ${key} is given twice`);
    const selector = spec.selector ?? {};
    if (Object.keys(selector).length === 0) {
      report("spec.selector", "needs at least one label: there are no Endpoints but its pods");
    }
    if (spec.type === "NodePort" || spec.type === "LoadBalancer") {
      note("spec.type", `${spec.type} opens no port of the machine; a container's hostPort does`);
    }
    this.#services.set(key, {
      name,
      namespace,
      selector,
      ports: (spec.ports ?? []).map(servicePort),
      publishNotReadyAddresses: spec.publishNotReadyAddresses ?? false,
      note,
      told: new Set(),
      hasPods: false,
    });
  }

  size(): number {
    return this.#services.size;
  }

  /** Those that lead to a pod. */
  of({ metadata, spec }: PodManifest, namespace: string): ServiceName[] {
    const labels = metadata.labels ?? {};
    return [...this.#services.values()]
      .filter((service) => service.namespace === namespace)
      .filter(({ selector }) => Object.entries(selector).every(([key, value]) => labels[key] === value))
      .map((service) => {
        service.hasPods = true;
        tellOfPorts(service, spec);
        const { name, publishNotReadyAddresses, ports } = service;
        return { name, publishNotReadyAddresses, ports };
      });
  }

  /** Once all pods have been asked for: tells of those without any. */
  tellOfEmpty(): void {
    for (const { hasPods, note } of this.#services.values()) {
      if (!hasPods) note("spec.selector", "selects no pod of this manifest");
    }
  }
}

function servicePort({ name = "", port, targetPort = port, protocol = "TCP" }: ServicePortSpec): ServicePort {
  return { name, port, target: targetPort, protocol };
}

/** Nothing stands between a name and its pods that could change a port. */
function tellOfPorts({ ports, note, told }: Service, spec: PodSpec): void {
  ports.forEach(({ port, target }, index) => {
    const ofContainers = allContainers(spec).flatMap((container) => container.ports ?? []);
    const named = ofContainers.find(({ name }) => name === target)?.containerPort;
    const number = typeof target === "number" ? target : named;
    const path = `spec.ports[${index}].targetPort`;
    if (number === port || told.has(path)) return;
    told.add(path);
    const where = number === undefined ? "the port that they listen on" : `port ${number}`;
    note(path, `the name leads to the pods themselves: they are reached at ${where}, not at ${port}`);
  });
}
