// SPDX-License-Identifier: Apache-2.0
import { type Container, ContainerState, type PodSandbox } from "../gen/runtime/v1/api_pb.ts";
import { type Daemon, isNotFound, openDaemon, promptly } from "./client.ts";
import { age, shortId, timestamp } from "./human.ts";
import {
  containerName,
  containersOf,
  isReadySandbox,
  isRunning,
  podTitle,
  takeInventory,
} from "./inventory.ts";
import { type Listing, printRows } from "./output/print.ts";
import type { Context } from "./program.ts";

/** In the place of the image's name. */
const PAUSE = "(pause)";

interface Row {
  readonly id: string;
  readonly name: string;
  readonly pod: string;
  readonly image: string;
  readonly state: string;
  /** By its probes; true where it has none, false where it does not run. */
  readonly ready: boolean;
  readonly restarts: number;
  /** 0 where there is no process. */
  readonly pid: number;
  readonly createdAtNs: bigint;
}

export async function ps({ io, socketPath, output }: Context, options: { all?: boolean }): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { pods } = await takeInventory(daemon);
  const rows = await Promise.all(
    pods.flatMap((pod) => {
      const title = podTitle(pod);
      const containers = pod.containers.filter((container) => options.all || isRunning(container));
      const pause = options.all && pod.sandbox !== undefined ? [pauseRow(daemon, pod.sandbox, title)] : [];
      const unready = new Set(
        pod.kept === undefined
          ? []
          : containersOf(pod.kept)
              .filter(({ ready }) => !ready)
              .map(({ name }) => name),
      );
      const rowOf = (container: Container) =>
        containerRow(
          daemon,
          container,
          title,
          isRunning(container) && !unready.has(containerName(container)),
        );
      return [...containers.map(rowOf), ...pause];
    }),
  );
  await printRows({ io, output }, rows, LISTING);
  return 0;
}

const LISTING: Listing<Row> = {
  columns: [
    { heading: "ID", cell: ({ id }, { isWide }) => (isWide ? id : shortId(id)) },
    { heading: "NAME", cell: ({ name }) => name },
    { heading: "POD", cell: ({ pod }) => pod },
    { heading: "IMAGE", cell: ({ image }) => image },
    {
      heading: "STATE",
      cell: (row, { paint }) =>
        row.state === "Running" && row.ready ? paint("Running", "green") : paint(stateTitle(row), "yellow"),
    },
    { heading: "RESTARTS", cell: ({ restarts }) => String(restarts) },
    { heading: "PID", cell: ({ pid }) => (pid === 0 ? "-" : String(pid)) },
    { heading: "AGE", cell: ({ createdAtNs }) => age(createdAtNs) },
    { heading: "CREATED", cell: ({ createdAtNs }) => timestamp(createdAtNs), wide: true },
  ],
  object: ({ createdAtNs, ...row }) => ({ ...row, createdAt: timestamp(createdAtNs) }),
  // Several attempts may have ended under one name, and no command takes a pause by its name.
  name: ({ id, name, pod, state, image }) => (state === "Running" && image !== PAUSE ? `${pod}/${name}` : id),
};

function stateTitle({ state, ready }: Row): string {
  return state === "Running" && !ready ? "Running (not ready)" : state;
}

async function containerRow(daemon: Daemon, container: Container, pod: string, ready: boolean): Promise<Row> {
  const info = isRunning(container)
    ? daemon.runtime.containerStatus({ containerId: container.id, verbose: true }, promptly())
    : undefined;
  return {
    id: container.id,
    name: containerName(container),
    pod,
    image: imageTitle(container),
    state: STATES[container.state] ?? "Unknown",
    ready,
    restarts: container.metadata?.attempt ?? 0,
    pid: await pidOf(info),
    createdAtNs: container.createdAt,
  };
}

/** The pause under the name by which Docker's list of a Kubernetes node used to show it. */
async function pauseRow(daemon: Daemon, sandbox: PodSandbox, pod: string): Promise<Row> {
  const isReady = isReadySandbox(sandbox);
  const info = daemon.runtime.podSandboxStatus({ podSandboxId: sandbox.id, verbose: true }, promptly());
  return {
    id: sandbox.id,
    name: `POD-${sandbox.metadata?.name ?? ""}`,
    pod,
    image: PAUSE,
    state: isReady ? "Running" : "Exited",
    ready: isReady,
    restarts: sandbox.metadata?.attempt ?? 0,
    pid: isReady ? await pidOf(info) : await pidOf(info).then(() => 0),
    createdAtNs: sandbox.createdAt,
  };
}

/** From the verbose answer; 0 when the object has been removed since it was listed. */
async function pidOf(
  status: Promise<{ readonly info: Record<string, string> }> | undefined,
): Promise<number> {
  if (status === undefined) return 0;
  try {
    const { info } = await status;
    const pid: unknown = (JSON.parse(info["info"] ?? "{}") as { pid?: unknown }).pid;
    return typeof pid === "number" ? pid : 0;
  } catch (error) {
    if (isNotFound(error)) return 0;
    throw error;
  }
}

function imageTitle({ image, imageId }: Container): string {
  const name = image?.userSpecifiedImage || image?.image || imageId;
  return name.startsWith("sha256:") ? shortId(name) : name;
}

const STATES: Readonly<Record<number, string>> = {
  [ContainerState.CONTAINER_CREATED]: "Created",
  [ContainerState.CONTAINER_RUNNING]: "Running",
  [ContainerState.CONTAINER_EXITED]: "Exited",
  [ContainerState.CONTAINER_UNKNOWN]: "Unknown",
};
