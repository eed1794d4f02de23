// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import type { Container } from "../gen/runtime/v1/api_pb.ts";
import { type Daemon, isNotFound, promptly } from "./client.ts";
import { age, timeLeft } from "./human.ts";
import {
  containerName,
  containersOf,
  hasEnded,
  type Inventory,
  isRunning,
  podTitle,
  requireContainer,
} from "./inventory.ts";

/** One in which something can be executed, or that can be joined; of another, FailedPreconditionError says how it is. */
export async function requireRunning(daemon: Daemon, inventory: Inventory, text: string): Promise<Container> {
  const container = requireContainer(inventory, text);
  if (isRunning(container)) return container;
  const pod = inventory.pods.find(({ containers }) => containers.includes(container));
  const name = containerName(container);
  const title = `${pod === undefined ? "" : `${podTitle(pod)}/`}${name}`;
  if (!hasEnded(container)) {
    const advice = `\`podrt why ${title}\` tells more`;
    throw new FailedPreconditionError(`container ${title} has not been started; ${advice}`);
  }
  const kept = pod?.kept === undefined ? undefined : containersOf(pod.kept).find((one) => one.name === name);
  const waitMs = Number(kept?.nextTryAtMs ?? 0n) - Date.now();
  const again = waitMs > 0 ? `, and is started again in ${timeLeft(Math.ceil(waitMs / 1000))}` : "";
  throw new FailedPreconditionError(
    `container ${title} ${await endOf(daemon, container)}${again}; ` +
      `\`podrt logs ${title}\` shows what it wrote, \`podrt why ${title}\` tells more`,
  );
}

/** How it ended, as in `ended 5m ago with exit code 137 (OOMKilled)`. */
async function endOf(daemon: Daemon, { id }: Container): Promise<string> {
  try {
    const { status } = await daemon.runtime.containerStatus({ containerId: id }, promptly());
    if (status === undefined || status.finishedAt === 0n) return "has ended";
    const { exitCode, reason, finishedAt } = status;
    return `ended ${age(finishedAt)} ago with exit code ${exitCode}${reason === "" ? "" : ` (${reason})`}`;
  } catch (error) {
    if (isNotFound(error)) return "has been removed";
    throw error;
  }
}
