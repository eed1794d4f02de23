// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import type { Container, Pod } from "../../../src/gen/podrt/v1/podrt_pb.ts";
import { projectDir } from "../../fixtures/images/packages.ts";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";

export const demoPod = join(projectDir, "examples/demo-pod.yaml");
export const sharedNamespaceDemo = join(projectDir, "examples/shared-namespace-demo.yaml");

/** `podrt run FILE --detach`, which must succeed. */
export async function runDetached(daemon: Daemon, file: string): Promise<void> {
  const { code, stderr } = await daemon.podrt("run", "--detach", file);
  if (code !== 0) throw new Error(`podrt run --detach ${file} exited with ${code}: ${stderr}`);
}

/** Waits until a kept pod and all its containers run. */
export function runningPod(daemon: Daemon, name: string, timeoutMs = 20_000): Promise<Pod> {
  return eventually(
    `pod ${name} runs`,
    async () => {
      const pod = await keptPod(daemon, name);
      if (pod.phase !== "Running" || pod.containers.some(({ state }) => state !== "running")) {
        const shown = pod.containers.map((c) => `${c.name} ${c.state} ${c.reason} ${c.message}`);
        throw new Error(`${pod.phase} ${pod.reason} ${pod.message}: ${shown.join("; ")}`);
      }
      return pod;
    },
    timeoutMs,
  );
}

/** Waits until a kept pod has ended well. */
export function succeededPod(daemon: Daemon, name: string): Promise<Pod> {
  return eventually(`${name} has succeeded`, async () => {
    const pod = await keptPod(daemon, name);
    if (pod.phase !== "Succeeded") throw new Error(`${pod.phase} ${pod.message}`);
    return pod;
  });
}

/** What nginx answers at the pod's address, once it listens: a pod runs before its programs are ready. */
export function pageOf(pod: Pod, path = "/"): Promise<string> {
  const url = `http://${pod.addresses[0]}${path}`;
  return eventually(`${url} answers`, async () =>
    (await fetch(url, { signal: AbortSignal.timeout(2000) })).text(),
  );
}

export async function keptPod(daemon: Daemon, name: string): Promise<Pod> {
  const pod = (await daemon.pods.listPods({})).pods.find((candidate) => candidate.name?.name === name);
  if (pod === undefined) throw new Error(`no pod ${name} is kept`);
  return pod;
}

export function containerOf(pod: Pod, name: string): Container {
  const container = pod.containers.find((candidate) => candidate.name === name);
  if (container === undefined) throw new Error(`pod ${pod.name?.name} has no container ${name}`);
  return container;
}
