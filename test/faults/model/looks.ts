// SPDX-License-Identifier: Apache-2.0
import { ContainerState, PodSandboxState } from "../../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import { containerStatus, sandboxStatus } from "../../integration/harness/pods.ts";
import { type Container, must, type Pod, type Real } from "./model.ts";
import { logProblems } from "./program.ts";

// What the interface says of a pod and of a container must be what the model knows of them.

export async function lookAtPod(real: Real, pod: Pod): Promise<void> {
  const status = await real.call(`status of pod ${pod.name}`, () => sandboxStatus(real.daemon, pod.id));
  const isReady = status.state === PodSandboxState.SANDBOX_READY;
  must(status.metadata?.name === pod.name, () => `pod ${pod.name} is called ${status.metadata?.name}`);
  if (pod.isStopped) must(!isReady, () => `pod ${pod.name} was stopped and is ready`);
  if (pod.isStopped || pod.isDying) return;
  must(isReady, () => `pod ${pod.name} is not ready, and nobody has stopped it`);
  const address = status.network?.ip ?? "";
  must(address === pod.address, () => `pod ${pod.name} had the address ${pod.address} and has ${address}`);
}

/** Looks at a container, and takes note of its end. */
export async function lookAtContainer(real: Real, container: Container): Promise<void> {
  const { name, pod } = container;
  const status = await real.call(`status of container ${pod.name}/${name}`, () =>
    containerStatus(real.daemon, container.id),
  );
  const { state, exitCode, finishedAt, startedAt, reason, message } = status;
  const said = () =>
    `container ${pod.name}/${name} (${container.program.kind}, ${container.state}, dying: ${pod.isDying}) is in state ${state}, code ${exitCode}, ${reason}: ${message}`;
  must(status.metadata?.name === name && status.logPath === container.logPath, said);
  if (state === ContainerState.CONTAINER_EXITED) {
    const end = `${exitCode} ${finishedAt} ${startedAt} ${reason}`;
    if (container.end !== undefined)
      must(container.end === end, () => `the end of ${pod.name}/${name} was ${container.end} and is ${end}`);
    const isPossible = container.state !== "created" || pod.isDying || pod.isStopped;
    must(isPossible && (pod.isDying || container.codes.has(exitCode)), said);
    container.end = end;
    container.state = "ended";
    return;
  }
  must(container.state !== "ended", said);
  const isRunning = state === ContainerState.CONTAINER_RUNNING;
  must(container.state !== "started" || isRunning, said);
  must(container.state !== "created" || !isRunning, said);
  if (isRunning && container.memoryBytes > 0) {
    const bytes = Number(status.resources?.linux?.memoryLimitInBytes ?? 0);
    must(bytes === container.memoryBytes, () => `${said()} has ${bytes} bytes, not ${container.memoryBytes}`);
  }
}

/** Waits until its log is what it must be: what was written is there a moment later, and at its end at once. */
export async function lookAtLog(container: Container): Promise<void> {
  const paths = [...container.formerLogs, container.logPath];
  const exitCode = container.end === undefined ? undefined : Number(container.end.split(" ")[0]);
  const isForgotten = container.pod.isDying || exitCode === 128;
  const problems = () => logProblems(paths, container.program, isForgotten ? undefined : exitCode);
  if (problems().length === 0) return;
  await eventually("the log is whole", () => problems().length === 0, 3000).catch(() => {});
  must(problems().length === 0, () => problems().join("; "));
}

/** Waits until a container has ended; the model must expect that. */
export async function lookAtEnd(real: Real, container: Container): Promise<void> {
  await eventually(
    `container ${container.pod.name}/${container.name} (${container.program.kind}) has ended`,
    async () => {
      await lookAtContainer(real, container);
      return container.state === "ended";
    },
    30_000,
  );
}
