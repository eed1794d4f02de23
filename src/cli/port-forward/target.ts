// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, NotFoundError } from "../../errors.ts";
import type { Service } from "../../gen/podrt/v1/podrt_pb.ts";
import { type NamedPort, namedPorts } from "../../kube/container-ports.ts";
import {
  containerName,
  findPod,
  type Inventory,
  isReadySandbox,
  type PodEntry,
  podTitle,
  requirePod,
} from "../inventory.ts";
import { noSuch } from "../no-such.ts";

/** A pod that runs, to whose ports others lead. */
export interface Target {
  /** What was asked for, as in `web` or `svc/web`. */
  readonly title: string;
  readonly sandboxId: string;
  /** What a port leads to in the pod; NotFoundError where nobody has one of that name. */
  port(remote: number | string): TargetPort;
}

export interface TargetPort {
  /** In the pod. */
  readonly number: number;
  /** The number by which it was asked for: of a Service's port its own. */
  readonly asked: number;
}

/**
 * The pod that `text` means, or one of those that a Service leads to: `svc/NAME`, or `svc/NAMESPACE/NAME`. A pod that
 * stands in a namespace of this name goes before.
 */
export function findTarget(inventory: Inventory, text: string): Target {
  const [, name] = /^(?:svc|services?)\/(.+)$/.exec(text) ?? [];
  if (name !== undefined && findPod(inventory, text) === undefined) return serviceTarget(inventory, name);
  const pod = requirePod(inventory, text.replace(/^(?:po|pods?)\/(?=[^/]+$)/, ""));
  if (!isReadySandbox(pod.sandbox)) {
    const advice = `\`podrt why ${podTitle(pod)}\` tells more`;
    throw new FailedPreconditionError(
      `pod ${podTitle(pod)} does not run, so nothing listens there; ${advice}`,
    );
  }
  return {
    title: podTitle(pod),
    sandboxId: pod.sandbox.id,
    port: (remote) => {
      const number = podPort(pod, remote);
      return { number, asked: number };
    },
  };
}

function serviceTarget({ pods }: Inventory, name: string): Target {
  const all = pods.flatMap((pod) =>
    (pod.kept?.services ?? []).map((service) => ({ pod, service, title: titleOf(pod, service) })),
  );
  const led = all.filter(
    ({ pod, service, title }) => name === title || name === `${pod.namespace}/${service.name}`,
  );
  if (led.length === 0) {
    const titles = all.map(({ title }) => title);
    const advice =
      all.length === 0
        ? "no pod that is kept has one in its manifest"
        : `there is ${[...new Set(titles)].join(", ")}`;
    throw noSuch("Service", name, titles, advice);
  }
  const running = led.filter(({ pod }) => isReadySandbox(pod.sandbox));
  const chosen = running.find(({ pod }) => pod.kept?.containers.every(({ ready }) => ready)) ?? running[0];
  if (chosen === undefined) {
    const names = led.map(({ pod }) => podTitle(pod));
    throw new FailedPreconditionError(
      `none of the pods of Service ${name} runs, so nothing listens there; \`podrt why ${names[0]}\` tells more`,
    );
  }
  const { pod, service, title } = chosen;
  return {
    title: `svc/${title}`,
    sandboxId: pod.sandbox!.id,
    port(remote) {
      const found = service.ports.find((port) => port.port === remote || port.name === remote);
      if (found === undefined) {
        const has = service.ports.map((port) => `${port.port}${port.name === "" ? "" : ` (${port.name})`}`);
        throw new NotFoundError(`Service ${title} has no port ${remote}; ${listed(has)}`);
      }
      requireTcp(`port ${remote} of Service ${title}`, found.protocol);
      const target = /^\d+$/.test(found.target) ? Number(found.target) : found.target;
      return { number: podPort(pod, target), asked: found.port };
    },
  };
}

/** As pods are called. */
function titleOf({ namespace }: PodEntry, { name }: Service): string {
  return podTitle({ namespace, name });
}

function podPort(pod: PodEntry, remote: number | string): number {
  if (typeof remote === "number") return remote;
  const ports = portsOf(pod);
  const found = ports.find(({ name }) => name === remote);
  if (found === undefined) {
    const has = ports.map(({ name, number }) => `${name} (${number})`);
    throw new NotFoundError(`no container of pod ${podTitle(pod)} names a port ${remote}; ${listed(has)}`);
  }
  requireTcp(`port ${remote} of pod ${podTitle(pod)}`, found.protocol);
  return found.number;
}

/** Of the newest of each of its containers. */
function portsOf({ containers }: PodEntry): NamedPort[] {
  const newest = containers.filter(
    (container, index) =>
      containers.findIndex((one) => containerName(one) === containerName(container)) === index,
  );
  return newest.flatMap(({ annotations }) => namedPorts(annotations));
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "name it by its number" : `there is ${names.join(", ")}`;
}

function requireTcp(what: string, protocol: string): void {
  if (protocol === "TCP") return;
  throw new FailedPreconditionError(`${what} is one of ${protocol}, and only TCP can be led to it`);
}
