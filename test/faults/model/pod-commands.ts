// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { NamespaceMode } from "../../../src/gen/runtime/v1/api_pb.ts";
import {
  pausePid,
  runSandbox,
  type SandboxConfig,
  sandboxInfo,
  sandboxStatus,
} from "../../integration/harness/pods.ts";
import { parentOf } from "../../integration/harness/proc.ts";
import { runMappedSandbox } from "../../integration/harness/user-namespace.ts";
import { isHealthy, type ModelCommand, onOneOf, podsThat } from "./command.ts";
import { killLater } from "./kill.ts";
import { lookAtContainer, lookAtEnd, lookAtPod } from "./looks.ts";
import { inBackground, type Model, must, POD_KINDS, type Pod, type PodKind, type Real } from "./model.ts";
import { stopCodes } from "./program.ts";

const SLOTS = ["a", "b", "c"] as const;

function run(real: Real, name: string, kind: PodKind): Promise<string> {
  const { daemon } = real;
  const logDirectory = join(daemon.root, "logs");
  if (kind === "user namespace") return runMappedSandbox(daemon, name, {}, { logDirectory });
  const namespaceOptions = {
    network: kind === "host network" ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: kind === "shared processes" ? NamespaceMode.POD : NamespaceMode.CONTAINER,
  };
  const config = { logDirectory, linux: { securityContext: { namespaceOptions } } };
  return runSandbox(daemon, name, config as SandboxConfig);
}

/**
 * Runs a pod as a kubelet does. One whose making met an error, and its undoing another, is listed as that, and makes
 * way for the next; nothing else may hold the name.
 */
async function runAgain(real: Real, name: string, kind: PodKind): Promise<string> {
  try {
    return await run(real, name, kind);
  } catch (error) {
    if (ConnectError.from(error).code !== Code.AlreadyExists) throw error;
    const { daemon } = real;
    const { items } = await daemon.api.listPodSandbox({});
    const holder = items.find(({ metadata }) => metadata?.name === name);
    const info = holder && (await sandboxInfo(daemon, holder.id).catch(() => undefined));
    const reason = String(info?.["reason"] ?? "");
    if (reason !== "" && !reason.startsWith("it could not be made, nor undone")) throw error;
    if (holder !== undefined && reason !== "") await daemon.api.removePodSandbox({ podSandboxId: holder.id });
    return await run(real, name, kind);
  }
}

async function runPod(
  real: Real,
  name: string,
  kind: PodKind,
  isTwice: boolean,
  model: Model,
): Promise<void> {
  const id = await real.joined(`run pod ${name}`, isTwice, () => runAgain(real, name, kind));
  must(!model.gone.has(id), () => `pod ${name} is ${id}, which was removed`);
  const status = await real.call(`status of pod ${name}`, () => sandboxStatus(real.daemon, id));
  const address = status.network?.ip ?? "";
  const holder = real.addresses.get(address);
  must(holder === undefined, () => `pod ${name} has the address ${address}, which is ${holder}'s`);
  must(
    (address !== "") === (kind !== "host network"),
    () => `pod ${name}, ${kind}, has the address "${address}"`,
  );
  if (address !== "") real.addresses.set(address, name);
  const pod = { name, kind, id, address, containers: [], isDying: false, isStopped: false };
  model.pods.push(pod);
  await lookAtPod(real, pod);
}

/** From now on its address may be another pod's. */
function release(real: Real, pod: Pod): void {
  if (real.addresses.get(pod.address) === pod.name) real.addresses.delete(pod.address);
}

async function stop(real: Real, pod: Pod): Promise<void> {
  release(real, pod);
  for (const { codes } of pod.containers) for (const code of stopCodes()) codes.add(code);
  await real.call(`stop pod ${pod.name}`, () => real.daemon.api.stopPodSandbox({ podSandboxId: pod.id }));
  pod.isStopped = true;
  await lookAtPod(real, pod);
  for (const container of pod.containers) {
    if (container.state !== "created") await lookAtEnd(real, container);
  }
}

export async function removePod(real: Real, pod: Pod, model: Model): Promise<void> {
  const { api } = real.daemon;
  release(real, pod);
  await real.call(`remove pod ${pod.name}`, () => api.removePodSandbox({ podSandboxId: pod.id }));
  model.pods.splice(model.pods.indexOf(pod), 1);
  for (const { id } of [pod, ...pod.containers]) model.gone.add(id);
  await real.refused(`status of the removed pod ${pod.name}`, Code.NotFound, () =>
    sandboxStatus(real.daemon, pod.id),
  );
  await real.call(`remove pod ${pod.name} again`, () => api.removePodSandbox({ podSandboxId: pod.id }));
}

/** Kills the pause or the monitor soon: what is called meanwhile may succeed or not, the pod ends in any case. */
async function kill(real: Real, pod: Pod, victim: "pause" | "monitor", afterMs: number, model: Model) {
  const pause = await real.call(`pause of pod ${pod.name}`, () => pausePid(real.daemon, pod.id));
  const pid = victim === "pause" ? pause : parentOf(pause);
  pod.isDying = true;
  release(real, pod);
  inBackground(model, killLater(pid, pod.id, afterMs));
}

async function update(real: Real, pod: Pod, mebibytes: number): Promise<void> {
  const resources = { memoryLimitInBytes: BigInt(mebibytes) << 20n };
  await real.call(`update pod ${pod.name}`, () =>
    real.daemon.api.updatePodSandboxResources({ podSandboxId: pod.id, resources }),
  );
  const info = await real.call(`status of pod ${pod.name}`, () => sandboxInfo(real.daemon, pod.id));
  must(
    JSON.stringify(info["resources"]).includes(String(resources.memoryLimitInBytes)),
    () => `pod ${pod.name} was given ${mebibytes} MiB and says ${JSON.stringify(info["resources"])}`,
  );
}

async function look(real: Real, pod: Pod): Promise<void> {
  await lookAtPod(real, pod);
  for (const container of pod.containers) await lookAtContainer(real, container);
}

const any = podsThat(() => true);
const healthy = podsThat(isHealthy);
const nothing = {};

export const podCommands: readonly fc.Arbitrary<ModelCommand>[] = [
  ...[0, 1].map(() =>
    onOneOf(
      "run a pod",
      ({ actor, pods }) =>
        SLOTS.map((slot) => `${actor}${slot}`).filter((name) => !pods.some((pod) => pod.name === name)),
      { kind: fc.constantFrom(...POD_KINDS), isTwice: fc.boolean() },
      (real, name, { kind, isTwice }, model) => runPod(real, name, kind, isTwice, model),
    ),
  ),
  onOneOf("look at pod", any, nothing, look),
  onOneOf("stop pod", any, nothing, stop),
  onOneOf("remove pod", any, nothing, (real, pod, _, model) => removePod(real, pod, model)),
  onOneOf(
    "update pod",
    healthy,
    { mebibytes: fc.integer({ min: 200, max: 400 }) },
    (real, pod, { mebibytes }) => update(real, pod, mebibytes),
  ),
  onOneOf(
    "kill in pod",
    healthy,
    { victim: fc.constantFrom("pause" as const, "monitor" as const), afterMs: fc.nat(100) },
    (real, pod, { victim, afterMs }, model) => kill(real, pod, victim, afterMs, model),
  ),
];
