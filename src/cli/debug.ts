// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { openDaemon } from "./client.ts";
import {
  containerName,
  findContainer,
  findPod,
  type Inventory,
  isRunning,
  noPodOrContainer,
  type PodEntry,
  podTitle,
  takeInventory,
} from "./inventory.ts";
import { runInPod } from "./join-pod.ts";
import type { Context } from "./program.ts";
import { UsageError } from "./usage-error.ts";

interface Options {
  readonly image?: string;
  readonly stdin?: boolean;
  readonly tty?: boolean;
}

const IMAGE = "busybox";
/** Else /proc/PID/root of a process with other rights is out of reach, which is half of what one looks for. */
const CAPABILITIES = ["SYS_PTRACE"];

/**
 * Runs a container with tools in a pod that is there, among the processes of one of its containers, and removes it when it
 * has ended. Answers the exit code of the command, which is the image's own, with this terminal, unless one is given.
 */
export async function debug(
  context: Context,
  name: string | undefined,
  command: readonly string[],
  options: Options,
): Promise<number> {
  if (name === undefined) {
    throw new UsageError("name what to look into, as in `podrt debug web` or `podrt debug web/nginx -- ps`");
  }
  const { io, socketPath } = context;
  const { pod, target, unseen } = await findTarget(socketPath, name);
  if (unseen.length > 0) {
    const names = unseen.map((one) => `${podTitle(pod)}/${one}`).join(", ");
    await io.err(`podrt: to see the processes of a container, name it: ${names}\n`);
  }
  const isShell = command.length === 0;
  const image = options.image ?? (io.env["PODRT_DEBUG_IMAGE"] || IMAGE);
  return await runInPod(context, `${pod.namespace}/${pod.name}`, image, command, {
    rm: true,
    stdin: options.stdin ?? isShell,
    tty: options.tty ?? (isShell && io.terminal !== undefined && io.isTerminal),
    capAdd: CAPABILITIES,
    ...(target === undefined ? {} : { target }),
  });
}

interface Target {
  readonly pod: PodEntry;
  /** The container whose processes are seen; undefined for those of the pod. */
  readonly target: string | undefined;
  /** Which it could have been. */
  readonly unseen: readonly string[];
}

async function findTarget(socketPath: string, name: string): Promise<Target> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const pod = findPod(inventory, name);
  if (pod === undefined) return targetOf(inventory, name);
  const running = [...new Set(pod.containers.filter(isRunning).map(containerName))];
  if (running.length === 1) return { pod, target: running[0], unseen: [] };
  return { pod, target: undefined, unseen: running };
}

function targetOf(inventory: Inventory, name: string): Target {
  const container = findContainer(inventory, name);
  if (container === undefined) throw noPodOrContainer(inventory, name);
  const pod = inventory.pods.find(({ containers }) => containers.some(({ id }) => id === container.id));
  if (pod === undefined || !isRunning(container)) {
    const where =
      pod === undefined
        ? ""
        : `; \`podrt debug ${podTitle(pod)}\` joins its pod, \`podrt why ${name}\` tells more`;
    throw new FailedPreconditionError(
      `container ${name} does not run, so there is nothing to see of it${where}`,
    );
  }
  return { pod, target: containerName(container), unseen: [] };
}
