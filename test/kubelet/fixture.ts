// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, setDefaultTimeout } from "bun:test";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { type Cluster, type ContainerStatus, startCluster } from "./cluster.ts";
import { type Runtime, startRuntime } from "./runtime.ts";

/** How long anything may take on a busy machine. */
export const patientMs = 90_000;

/** What the tests of a file run on. */
export const node = {} as { runtime: Runtime; cluster: Cluster; registry: Registry };

/** A node for the tests of a file, of which nothing is left after the last. */
export function useNode(): void {
  // Three times what a test may wait for: Bun kills what a test has started, the cluster too, when it takes too long.
  setDefaultTimeout(600_000);
  beforeAll(async () => {
    node.registry = await startImageRegistry();
    node.runtime = await startRuntime(node.registry.host);
    node.cluster = await startCluster(node.runtime.socket);
  });
  afterAll(async () => {
    await node.cluster?.kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=60s");
    await node.cluster?.close();
    await node.runtime?.close();
    await node.registry?.[Symbol.asyncDispose]();
  });
}

/** Waits until the pod is in a phase. */
export async function phase(name: string, wanted: string): Promise<void> {
  await eventually(
    `pod ${name} is ${wanted}`,
    async () => {
      const { status } = await node.cluster.pod(name);
      if (status.phase === wanted) return true;
      throw new Error(JSON.stringify(status));
    },
    patientMs,
  );
}

/** Waits until the pod is ready. */
export async function ready(name: string): Promise<void> {
  await node.cluster.kubectl("wait", "--for=condition=Ready", `pod/${name}`, "--timeout=80s");
}

export async function container(pod: string, name: string): Promise<ContainerStatus> {
  const { status } = await node.cluster.pod(pod);
  const all = [status.initContainerStatuses, status.containerStatuses, status.ephemeralContainerStatuses];
  const found = all.flatMap((statuses) => statuses ?? []).find((each) => each.name === name);
  if (found === undefined) throw new Error(`pod ${pod} has no status of ${name} yet`);
  return found;
}

/** Waits until the status of a container passes a test; answers it. */
export function containerWhich(
  pod: string,
  name: string,
  what: string,
  test: (status: ContainerStatus) => boolean,
) {
  return eventually(
    `${name} of pod ${pod} ${what}`,
    async () => {
      const status = await container(pod, name);
      if (test(status)) return status;
      throw new Error(JSON.stringify(status));
    },
    patientMs,
  );
}

export async function remove(...names: string[]): Promise<void> {
  await node.cluster.kubectl("delete", "pod", ...names, "--timeout=80s");
}
