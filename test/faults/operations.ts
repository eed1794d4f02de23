// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "../integration/harness/daemon.ts";
import { eventually } from "../integration/harness/eventually.ts";
import {
  busybox,
  containerStatus,
  createContainer,
  ensureImage,
  execIn,
  exited,
  nginx,
  runContainer,
  runSandbox,
  type SandboxConfig,
} from "../integration/harness/pods.ts";
import { createMapped, runMappedSandbox } from "../integration/harness/user-namespace.ts";
import { startPluginNetwork, stopPluginNetwork } from "./network-plugin.ts";

/** A call of the interface, made again and again by the sweeps, each time from the same state. */
export interface Operation {
  readonly name: string;
  /** A call that takes away only goes forward: after a failure what it has not come to is still there. */
  readonly takesAway?: boolean;
  /** Brings about the state that the call needs; answers the call, which may be repeated. */
  prepare(daemon: Daemon): Promise<() => Promise<unknown>>;
  /** Takes away what the images have more or less than before. Pods are removed by the sweep. */
  tidy?(daemon: Daemon): Promise<void>;
}

/** The pod and the container that are worked on; nothing else bears these names. */
export const subject = "subject";
/** Port of the machine that leads to the pod. */
const hostPort = 20_000 + Math.floor(Math.random() * 9000);
const pulled = nginx;
const imported = "docker.io/podrt/volume-content:latest";

function sandboxConfig(daemon: Daemon): SandboxConfig {
  const portMappings = [{ protocol: 0, containerPort: 80, hostPort, hostIp: "127.0.0.1" }];
  return { portMappings, logDirectory: join(daemon.root, "logs") } as SandboxConfig;
}

function sandbox(daemon: Daemon): Promise<string> {
  return runSandbox(daemon, subject, sandboxConfig(daemon));
}

function containerConfig(line: string) {
  return { name: subject, command: ["sh", "-c", line], logPath: `${subject}.log` };
}

function created(daemon: Daemon, sandboxId: string, line: string): Promise<string> {
  return createContainer(daemon, sandboxId, containerConfig(line));
}

/** The same call again while it is in flight joins it, and both hear of the same id. */
async function twice(call: () => Promise<string>): Promise<void> {
  const answers = await Promise.allSettled([call(), call()]);
  const ids = answers.map((answer) => {
    if (answer.status === "rejected") throw answer.reason;
    return answer.value;
  });
  if (new Set(ids).size !== 1) throw new Error(`two calls that are the same made ${ids.join(" and ")}`);
}

const brief = "echo said; exit 7";
const waits = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done";

async function running(daemon: Daemon, sandboxId: string): Promise<string> {
  const containerId = await created(daemon, sandboxId, waits);
  await daemon.api.startContainer({ containerId });
  await isUp(daemon);
  return containerId;
}

/** Waits until the container has written its first line, which is when it minds its signals. */
async function isUp(daemon: Daemon): Promise<void> {
  const path = join(daemon.root, "logs", `${subject}.log`);
  await eventually("the container is up", () => /up\r?\n/.test(readFileSync(path, "utf8")));
}

/** Starts a container of the sandbox as a kubelet does: one whose start has failed makes way for another. */
async function start(daemon: Daemon, sandboxId: string, create: () => Promise<string>): Promise<string> {
  const { containers } = await daemon.api.listContainers({ filter: { podSandboxId: sandboxId } });
  const known = containers[0]?.id;
  if (known !== undefined) {
    const { state, reason } = await containerStatus(daemon, known);
    // Whoever lost the answer finds it running, or ended: a container starts once.
    if (state !== ContainerState.CONTAINER_CREATED && reason !== "StartError") return known;
    if (reason === "StartError") await daemon.api.removeContainer({ containerId: known });
  }
  const containerId = await create();
  await daemon.api.startContainer({ containerId });
  return containerId;
}

/** `archive` is an image in a file, of the name `imported`. */
export function operations(archive: string): readonly Operation[] {
  return [
    { name: "RunPodSandbox", prepare: async (daemon) => () => sandbox(daemon) },
    {
      name: "CreateContainer",
      async prepare(daemon) {
        const id = await sandbox(daemon);
        return () => created(daemon, id, waits);
      },
    },
    {
      name: "StartContainer",
      async prepare(daemon) {
        const sandboxId = await sandbox(daemon);
        const create = () => created(daemon, sandboxId, waits);
        await create();
        return async () => {
          await start(daemon, sandboxId, create);
          await isUp(daemon);
        };
      },
    },
    {
      name: "StartContainer of one that ends",
      async prepare(daemon) {
        const sandboxId = await sandbox(daemon);
        const create = () => created(daemon, sandboxId, brief);
        await create();
        return async () => {
          await exited(daemon, await start(daemon, sandboxId, create));
        };
      },
    },
    {
      name: "StopContainer",
      takesAway: true,
      async prepare(daemon) {
        const containerId = await running(daemon, await sandbox(daemon));
        return () => daemon.api.stopContainer({ containerId, timeout: 10n });
      },
    },
    {
      name: "RemoveContainer",
      takesAway: true,
      async prepare(daemon) {
        const containerId = await running(daemon, await sandbox(daemon));
        return () => daemon.api.removeContainer({ containerId });
      },
    },
    {
      name: "StopPodSandbox",
      takesAway: true,
      async prepare(daemon) {
        const podSandboxId = await sandbox(daemon);
        await running(daemon, podSandboxId);
        return () => daemon.api.stopPodSandbox({ podSandboxId });
      },
    },
    {
      name: "RemovePodSandbox",
      takesAway: true,
      async prepare(daemon) {
        const podSandboxId = await sandbox(daemon);
        await running(daemon, podSandboxId);
        return () => daemon.api.removePodSandbox({ podSandboxId });
      },
    },
    {
      name: "RunPodSandbox in a network of plugins",
      async prepare(daemon) {
        startPluginNetwork(daemon);
        return () => sandbox(daemon);
      },
      tidy: async (daemon) => stopPluginNetwork(daemon),
    },
    {
      name: "StopPodSandbox in a network of plugins",
      takesAway: true,
      async prepare(daemon) {
        startPluginNetwork(daemon);
        const podSandboxId = await sandbox(daemon);
        return () => daemon.api.stopPodSandbox({ podSandboxId });
      },
      tidy: async (daemon) => stopPluginNetwork(daemon),
    },
    {
      name: "ExecSync",
      async prepare(daemon) {
        const containerId = await running(daemon, await sandbox(daemon));
        return async () => {
          const { code, stdout } = await execIn(daemon, containerId, "sh", "-c", "echo heard; exit 4");
          if (code !== 4 || stdout !== "heard\n") throw new Error(`exec: ${code} ${stdout}`);
        };
      },
    },
    {
      name: "RunPodSandbox, asked for twice at once",
      prepare: async (daemon) => () => twice(() => sandbox(daemon)),
    },
    {
      name: "CreateContainer, asked for twice at once",
      async prepare(daemon) {
        const id = await sandbox(daemon);
        return () => twice(() => created(daemon, id, waits));
      },
    },
    {
      name: "RunPodSandbox with a user namespace",
      prepare: async (daemon) => () => runMappedSandbox(daemon, subject, {}, sandboxConfig(daemon)),
    },
    {
      name: "StartContainer with a terminal in a user namespace",
      async prepare(daemon) {
        const sandboxId = await runMappedSandbox(daemon, subject, {}, sandboxConfig(daemon));
        const create = () =>
          createMapped(daemon, sandboxId, { ...containerConfig(waits), tty: true, stdin: true });
        await create();
        return async () => {
          await start(daemon, sandboxId, create);
          await isUp(daemon);
        };
      },
    },
    {
      name: "UpdateContainerResources",
      async prepare(daemon) {
        const containerId = await running(daemon, await sandbox(daemon));
        const linux = { memoryLimitInBytes: 96n << 20n, cpuShares: 300n };
        return () => daemon.api.updateContainerResources({ containerId, linux });
      },
    },
    {
      name: "ReopenContainerLog",
      async prepare(daemon) {
        const containerId = await running(daemon, await sandbox(daemon));
        const path = join(daemon.root, "logs", `${subject}.log`);
        renameSync(path, `${path}.1`);
        return () => daemon.api.reopenContainerLog({ containerId });
      },
    },
    {
      name: "PullImage",
      prepare: async (daemon) => () => daemon.api.pullImage({ image: { image: pulled } }),
      tidy: (daemon) => remove(daemon, pulled),
    },
    {
      name: "RemoveImage",
      takesAway: true,
      async prepare(daemon) {
        await ensureImage(daemon, pulled);
        return () => remove(daemon, pulled);
      },
    },
    {
      name: "import",
      prepare: async (daemon) => async () => {
        for await (const _ of daemon.pods.import({ path: archive, name: imported }));
      },
      tidy: (daemon) => remove(daemon, imported),
    },
  ];
}

async function remove(daemon: Daemon, image: string): Promise<void> {
  await daemon.api.removeImage({ image: { image } });
}

/** The pod that nobody touches: what it writes and its process must be the same after all. */
export interface Bystander {
  readonly containerId: string;
  readonly logPath: string;
}

export async function startBystander(daemon: Daemon, pauseSeconds: number): Promise<Bystander> {
  await ensureImage(daemon, busybox);
  const logDirectory = join(daemon.root, "logs");
  const sandboxId = await runSandbox(daemon, "bystander", { logDirectory });
  const line = `i=0; while :; do i=$((i+1)); echo line $i; sleep ${pauseSeconds}; done`;
  const container = { name: "bystander", command: ["sh", "-c", line], logPath: "bystander.log" };
  const containerId = await runContainer(daemon, sandboxId, container);
  return { containerId, logPath: join(logDirectory, "bystander.log") };
}

/** What is wrong with the bystander's log: lines that are lost, doubled or torn. */
export function logProblems({ logPath }: Bystander): string[] {
  const lines = readFileSync(logPath, "utf8").split("\n").slice(0, -1);
  return lines
    .flatMap((line, index) =>
      line.endsWith(` stdout F line ${index + 1}`)
        ? []
        : [`log of the bystander, line ${index + 1}: ${line}`],
    )
    .slice(0, 3);
}
