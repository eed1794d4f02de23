// SPDX-License-Identifier: Apache-2.0

/**
 * Measures starts and memory of the compiled binary, beside runc and crun where they are installed: one round of
 * each after the other, so that all meet the same machine. Prints a table, then the same as JSON.
 *
 * usage: bun test/bench/bench.ts [ROUNDS]   (100)
 */
import { readdirSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ImageService, RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Api } from "../integration/harness/api.ts";
import { binary, type Daemon, startDaemon } from "../integration/harness/daemon.ts";
import {
  busybox,
  containerInfo,
  createContainer,
  ensureImage,
  pausePid,
  runContainer,
  runSandbox,
} from "../integration/harness/pods.ts";
import { memoryOf, parentOf } from "../integration/harness/proc.ts";
import { type KernelTrace, startKernelTrace } from "./kernel-trace.ts";
import { describeMachine } from "./machine.ts";
import { type OciRuntime, prepareOciRuntime } from "./oci-runtime.ts";
import { printReport, type Report } from "./report.ts";
import { Samples } from "./samples.ts";

const application = "/bin/sleep";
const warmUpRounds = 5;
const idleMs = 3000;
/** The kernel takes cgroups, mounts and namespaces apart after the call that removed them has returned. */
const settleMs = 50;

if (process.getuid?.() !== 0) {
  console.error("make bench: needs root");
  process.exit(1);
}
const rounds = Number(process.argv[2] ?? 100);
process.exitCode = await main().then(
  () => 0,
  (error: unknown) => {
    console.error(error);
    return 1;
  },
);

async function main(): Promise<void> {
  await using registry = await startImageRegistry();
  const started = await startDaemon({ mirror: registry.host });
  const daemon = { ...started, api: grpcApi(started.socket) };
  try {
    await ensureImage(daemon, busybox);
    const memory = await measureMemory(daemon);
    const measured = await measureTimes(daemon);
    const binaryBytes = statSync(binary).size;
    printReport({ machine: describeMachine(), rounds, binaryBytes, memory, ...measured });
  } finally {
    await daemon.close();
  }
}

/** One gRPC connection that stays open, as a kubelet has it. */
function grpcApi(socketPath: string): Api {
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => connect(socketPath) },
  });
  return Object.assign(
    {},
    createClient(RuntimeService, transport),
    createClient(ImageService, transport),
  ) as Api;
}

/** Proportional and private memory, in bytes, of an idle daemon and of what one pod keeps besides its application. */
async function measureMemory(daemon: Daemon): Promise<Report["memory"]> {
  const sandboxId = await runSandbox(daemon, "memory");
  await runContainer(daemon, sandboxId, { name: "app" });
  await Bun.sleep(idleMs);
  const pause = await pausePid(daemon, sandboxId);
  const memory = [
    ["pause", pause],
    ["monitor", parentOf(pause)],
    ["daemon, idle, with one pod", daemon.pid()],
  ] as const;
  const result = memory.map(([name, pid]) => {
    const fields = memoryOf(pid);
    return { name, pss: fields["Pss"]!, private: fields["Private_Clean"]! + fields["Private_Dirty"]! };
  });
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  return result;
}

async function measureTimes(daemon: Daemon): Promise<Pick<Report, "samples" | "runtimes" | "isTraced">> {
  const sandboxId = await runSandbox(daemon, "host-of-all");
  const template = await runContainer(daemon, sandboxId, { name: "template" });
  const { runtimeSpec } = await containerInfo(daemon, template);
  const layersDir = join(daemon.root, "lib/layers");
  const layerDirs = readdirSync(layersDir).map((name) => layerContent(join(layersDir, name)));
  await using stack = new AsyncDisposableStack();
  const trace = await startKernelTrace().catch(() => undefined);
  if (trace !== undefined) stack.use(trace);
  const runtimes: OciRuntime[] = [];
  for (const name of ["runc", "crun"]) {
    const runtime = await prepareOciRuntime(name, runtimeSpec as object, layerDirs);
    if (runtime !== undefined) runtimes.push(stack.use(runtime));
  }
  let samples = new Samples();
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    if (round === 0) samples = new Samples();
    await podrtRound(daemon, sandboxId, round, samples, trace);
    for (const runtime of runtimes) {
      await Bun.sleep(settleMs);
      await runtimeRound(runtime, samples, trace);
    }
    await Bun.sleep(settleMs);
  }
  const versions = runtimes.map(({ name, version }) => ({ name, version }));
  return { samples, runtimes: versions, isTraced: trace !== undefined };
}

/** Where a layer's files are: the directory itself, or the one inside it that holds them. */
function layerContent(dir: string): string {
  return readdirSync(dir).includes("bin")
    ? dir
    : join(dir, readdirSync(dir).find((name) => holdsRoot(join(dir, name)))!);
}

function holdsRoot(path: string): boolean {
  return statSync(path).isDirectory() && readdirSync(path).includes("bin");
}

async function podrtRound(
  daemon: Daemon,
  sandboxId: string,
  round: number,
  samples: Samples,
  trace: KernelTrace | undefined,
): Promise<void> {
  const { api } = daemon;
  const startMs = performance.now();
  const containerId = await createContainer(daemon, sandboxId, { name: `app-${round}` });
  const createMs = performance.now() - startMs;
  trace?.mark();
  const createdMs = performance.now();
  await api.startContainer({ containerId });
  const startingMs = performance.now() - createdMs;
  samples.add("StartContainer", startingMs);
  samples.add("Create and StartContainer", createMs + startingMs);
  noteLaunch("podrt", samples, trace);

  await samples.time("ExecSync of true", () => api.execSync({ containerId, cmd: ["true"], timeout: 10n }));
  await samples.time("Stop and RemoveContainer", async () => {
    await api.stopContainer({ containerId, timeout: 0n });
    await api.removeContainer({ containerId });
  });

  const podSandboxId = await samples.time("RunPodSandbox", () => runSandbox(daemon, `bench-${round}`));
  await samples.time("Stop and RemovePodSandbox", async () => {
    await api.stopPodSandbox({ podSandboxId });
    await api.removePodSandbox({ podSandboxId });
  });
}

async function runtimeRound(
  runtime: OciRuntime,
  samples: Samples,
  trace: KernelTrace | undefined,
): Promise<void> {
  trace?.mark();
  await samples.time(`${runtime.name} run --detach`, () => runtime.run());
  noteLaunch(runtime.name, samples, trace, runtime.program);
  await runtime.remove();
}

function noteLaunch(name: string, samples: Samples, trace: KernelTrace | undefined, launcher?: string): void {
  const launch = trace?.launchOf(application, launcher);
  if (launch === undefined) return;
  samples.add(`${name}: asked to execve`, launch.askedToExecMs);
  samples.add(`${name}: clone to execve`, launch.cloneToExecMs);
}
