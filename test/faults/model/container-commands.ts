// SPDX-License-Identifier: Apache-2.0
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { NamespaceMode } from "../../../src/gen/runtime/v1/api_pb.ts";
import {
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  secured,
} from "../../integration/harness/pods.ts";
import { createMapped } from "../../integration/harness/user-namespace.ts";
import { containersThat, isHealthy, type ModelCommand, onOneOf } from "./command.ts";
import { killLater } from "./kill.ts";
import { lookAtContainer, lookAtEnd, lookAtLog } from "./looks.ts";
import { type Container, inBackground, type Model, must, type Pod, type Real } from "./model.ts";
import { commandOf, ownCodes, type Program, programs, stopCodes } from "./program.ts";

const SLOTS = ["x", "y", "z"] as const;

interface Creation {
  readonly program: Program;
  readonly hasTerminal: boolean;
  readonly isTwice: boolean;
}

/** Names of containers that the pods have not got. */
function freeNames({ pods }: Readonly<Model>): { pod: Pod; name: string }[] {
  return pods.filter(isHealthy).flatMap((pod) => {
    const taken = pod.containers.map(({ name }) => name);
    return SLOTS.filter((name) => !taken.includes(name)).map((name) => ({ pod, name }));
  });
}

async function create(
  real: Real,
  { pod, name }: { pod: Pod; name: string },
  { program, hasTerminal, isTwice }: Creation,
  model: Model,
): Promise<void> {
  const { daemon } = real;
  const logName = `${pod.name}-${name}-${model.serial++}.log`;
  const config = { name, command: commandOf(program), logPath: logName, tty: hasTerminal };
  const pid = pod.kind === "shared processes" ? NamespaceMode.POD : NamespaceMode.CONTAINER;
  const network = pod.kind === "host network" ? NamespaceMode.NODE : NamespaceMode.POD;
  const make = () =>
    pod.kind === "user namespace"
      ? createMapped(daemon, pod.id, config)
      : createContainer(daemon, pod.id, { ...config, ...secured({ namespaceOptions: { pid, network } }) });
  const id = await real.joined(`create container ${pod.name}/${name}`, isTwice, make);
  must(!model.gone.has(id), () => `container ${pod.name}/${name} is ${id}, which was removed`);
  const container: Container = {
    pod,
    name,
    id,
    program,
    hasTerminal,
    logPath: join(daemon.root, "logs", logName),
    formerLogs: [],
    state: "created",
    codes: new Set(ownCodes(program)),
    end: undefined,
    memoryBytes: 0,
  };
  pod.containers.push(container);
  await lookAtContainer(real, container);
}

/** Starts it as a kubelet does: one whose answer was lost is looked at before it is started again. */
async function start(real: Real, container: Container): Promise<void> {
  const { pod, name, id } = container;
  const what = `start container ${pod.name}/${name}`;
  const sinceMs = performance.now();
  const outcome = await real.call(what, async () => {
    try {
      await real.daemon.api.startContainer({ containerId: id });
      return "started";
    } catch (error) {
      if (!real.excuses(sinceMs)) throw error;
      const { startedAt, finishedAt } = await containerStatus(real.daemon, id);
      if (startedAt > 0n) return "started";
      if (finishedAt > 0n) return "failed";
      throw error;
    }
  });
  container.state = "started";
  if (outcome === "failed") container.codes.add(128);
  await lookAtContainer(real, container);
}

async function stop(real: Real, container: Container, timeout: number): Promise<void> {
  const { pod, name, id } = container;
  // One that has not been started can still be.
  if (container.state !== "created") for (const code of stopCodes()) container.codes.add(code);
  await real.call(`stop container ${pod.name}/${name}`, () =>
    real.daemon.api.stopContainer({ containerId: id, timeout: BigInt(timeout) }),
  );
  if (container.state === "created") return lookAtContainer(real, container);
  await lookAtEnd(real, container);
  await lookAtLog(container);
}

async function remove(real: Real, container: Container, model: Model): Promise<void> {
  const { pod, name, id } = container;
  await real.call(`remove container ${pod.name}/${name}`, () =>
    real.daemon.api.removeContainer({ containerId: id }),
  );
  pod.containers.splice(pod.containers.indexOf(container), 1);
  model.gone.add(id);
  for (const path of [...container.formerLogs, container.logPath]) rmSync(path, { force: true });
  await real.refused(`status of the removed container ${pod.name}/${name}`, Code.NotFound, () =>
    containerStatus(real.daemon, id),
  );
}

async function exec(real: Real, { pod, name, id }: Container): Promise<void> {
  const what = `exec in ${pod.name}/${name}`;
  const answer = await real.call(what, () => execIn(real.daemon, id, "sh", "-c", "echo heard; exit 4"));
  must(answer.code === 4 && answer.stdout === "heard\n", () => `${what}: ${JSON.stringify(answer)}`);
}

async function update(real: Real, container: Container, mebibytes: number): Promise<void> {
  const memoryLimitInBytes = BigInt(mebibytes) << 20n;
  await real.call(`update container ${container.pod.name}/${container.name}`, () =>
    real.daemon.api.updateContainerResources({ containerId: container.id, linux: { memoryLimitInBytes } }),
  );
  container.memoryBytes = Number(memoryLimitInBytes);
  await lookAtContainer(real, container);
}

/** Rotates its log as a kubelet does: it is renamed, and opened anew. */
async function reopen(real: Real, container: Container): Promise<void> {
  const { pod, name, id, logPath, formerLogs } = container;
  const former = `${logPath}.${formerLogs.length}`;
  if (!existsSync(logPath)) return;
  renameSync(logPath, former);
  formerLogs.push(former);
  await real.call(`reopen the log of ${pod.name}/${name}`, () =>
    real.daemon.api.reopenContainerLog({ containerId: id }),
  );
  await lookAtLog(container);
}

async function kill(real: Real, container: Container, afterMs: number, model: Model): Promise<void> {
  const { pod, name, id } = container;
  const pid = await real.call(`process of ${pod.name}/${name}`, () => containerPid(real.daemon, id));
  container.codes.add(137);
  inBackground(model, killLater(pid, id, afterMs));
}

async function awaitEnd(real: Real, container: Container): Promise<void> {
  await lookAtEnd(real, container);
  await lookAtLog(container);
}

async function askStats(real: Real, { pod, name, id }: Container): Promise<void> {
  const { stats } = await real.call(`statistics of ${pod.name}/${name}`, () =>
    real.daemon.api.containerStats({ containerId: id }),
  );
  must(stats?.attributes?.id === id, () => `statistics of ${id} are of ${stats?.attributes?.id}`);
}

const any = containersThat(() => true);
const created = containersThat(({ state, pod }) => state === "created" && isHealthy(pod));
/** Nothing but the model ends them. */
const endless = containersThat(
  ({ state, pod, program, codes }) =>
    state === "started" && program.kind === "endless" && codes.size === 0 && isHealthy(pod),
);
/** They end by themselves, or have been killed, or could not be started. */
const ending = containersThat(
  ({ state, codes, pod }) => state === "started" && codes.size > 0 && isHealthy(pod),
);
const nothing = {};

export const containerCommands: readonly fc.Arbitrary<ModelCommand>[] = [
  ...[0, 1].map(() =>
    onOneOf(
      "create container",
      freeNames,
      { program: programs, hasTerminal: fc.boolean(), isTwice: fc.boolean() },
      create,
    ),
  ),
  ...[0, 1, 2].map(() => onOneOf("start container", created, nothing, start)),
  onOneOf(
    "stop container",
    any,
    { timeout: fc.integer({ min: 0, max: 2 }) },
    (real, container, { timeout }) => stop(real, container, timeout),
  ),
  onOneOf("remove container", any, nothing, (real, container, _, model) => remove(real, container, model)),
  onOneOf("exec in container", endless, nothing, exec),
  onOneOf(
    "update container",
    endless,
    { mebibytes: fc.integer({ min: 50, max: 100 }) },
    (real, it, { mebibytes }) => update(real, it, mebibytes),
  ),
  onOneOf("reopen log", endless, nothing, reopen),
  onOneOf("kill container", endless, { afterMs: fc.nat(50) }, (real, container, { afterMs }, model) =>
    kill(real, container, afterMs, model),
  ),
  onOneOf("await the end", ending, nothing, awaitEnd),
  onOneOf("statistics", any, nothing, askStats),
];
