// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { reachableFrom, readCoverage, readInterface, splitVerdict } from "../../scripts/write-cri-page.ts";
import {
  ContainerStatsSchema,
  CpuUsageSchema,
  ImageService,
  IoUsageSchema,
  LinuxPodSandboxStatsSchema,
  MemoryUsageSchema,
  PodSandboxState,
  PodSandboxStatusSchema,
  RuntimeService,
  SwapUsageSchema,
} from "../../src/gen/runtime/v1/api_pb.ts";
import { JsonText } from "../../src/lib/json-text.ts";
import { sandboxStatus as statusOfRecord } from "../../src/sandbox/status.ts";
import { cpuUsage, ioUsage, memoryUsage, swapUsage } from "../../src/stats/messages.ts";
import { clients, newRuntime } from "../fixtures/cri-clients.ts";
import { collectFilled } from "../fixtures/filled-fields.ts";
import { validRequests } from "../fixtures/valid-requests.ts";
import { unixTransport } from "./harness/api.ts";
import { outputOf } from "./harness/command.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  type ContainerConfig,
  containerStatus,
  createContainer,
  exited,
  pausePid,
  runContainer,
  sandboxStatus,
  shellIn,
} from "./harness/pods.ts";

const fixture = useDaemon();
const filled = new Set<string>();
const served = new Set<string>();

type Method = (typeof RuntimeService | typeof ImageService)["methods"][number];
const methods: readonly Method[] = [...RuntimeService.methods, ...ImageService.methods];

/** Calls the daemon and notes which fields its answers fill. */
async function ask(name: string, request: object = {}): Promise<void> {
  const method = methods.find((candidate) => candidate.name === name) as Method;
  const service = method.parent === RuntimeService ? RuntimeService : ImageService;
  const client = createClient(service, unixTransport(fixture.daemon.socket)) as unknown as Record<
    string,
    (request: object) => unknown
  >;
  try {
    const answer = client[method.localName]?.(request);
    if (method.methodKind === "unary") note(method.output, (await answer) as never);
    else for await (const message of answer as AsyncIterable<never>) note(method.output, message);
    served.add(name);
  } catch (error) {
    if (ConnectError.from(error).code !== Code.Unimplemented) throw error;
  }
}

function note<D extends DescMessage>(type: D, message: MessageShape<D>): void {
  collectFilled(type, message, filled);
}

function noteInit<D extends DescMessage>(type: D, init: MessageInitShape<D> | undefined): void {
  if (init !== undefined) note(type, create(type, init));
}

/** A pod can be restored only where criu is, and where it was checkpointed. */
const ANSWERED_ELSEWHERE = ["RestorePod"];

const labels = { app: "rich" };
const annotations = { "example.com/note": "x" };

/** A pod with a container that works, one that failed and one that could not be started. */
async function runRichPod() {
  const { daemon } = fixture;
  const metadata = { name: "rich", namespace: "default", uid: "uid-rich", attempt: 1 };
  const config = { metadata, labels, annotations, logDirectory: `${daemon.root}/logs` };
  const { podSandboxId } = await daemon.api.runPodSandbox({ config, runtimeHandler: "podrt" });
  const rich = (name: string, command: string[], more: ContainerConfig = {}) => ({
    metadata: { name, attempt: 1 },
    name,
    image: { image: busybox, userSpecifiedImage: "busybox", annotations },
    command,
    labels,
    annotations,
    ...more,
  });
  const works = await runContainer(
    daemon,
    podSandboxId,
    rich("works", ["sh", "-c", "while :; do :; done"], {
      logPath: "works.log",
      stopSignal: 9,
      mounts: [{ containerPath: "/mnt", hostPath: daemon.root, readonly: true } as never],
      linux: {
        resources: { memoryLimitInBytes: 64n << 20n, memorySwapLimitInBytes: 128n << 20n, cpuShares: 64n },
        securityContext: { runAsUser: { value: 1000n }, runAsGroup: { value: 1000n } },
      } as never,
    }) as never,
  );
  const failed = await runContainer(daemon, podSandboxId, rich("failed", ["sh", "-c", "exit 3"]) as never);
  await exited(daemon, failed);
  const broken = await createContainer(daemon, podSandboxId, rich("broken", ["/no/such"]) as never);
  await daemon.api.startContainer({ containerId: broken }).catch(() => {});
  return { podSandboxId, works, failed, broken };
}

test("each field of an answer is filled or empty as docs/cri.md says", async () => {
  const { daemon } = fixture;
  const watching = watchEvents();
  for (const name of ["busybox", "test-image-user-uid", "test-image-user-username"]) {
    const image = name === "busybox" ? busybox : userImage(name);
    await ask("PullImage", { image: { image } });
    await ask("ImageStatus", { image: { image }, verbose: true });
  }
  const { podSandboxId, works, failed, broken } = await runRichPod();

  await ask("RunPodSandbox", { config: { metadata: { name: "b", namespace: "b", uid: "b" } } });
  await ask("CreateContainer", {
    podSandboxId,
    config: { metadata: { name: "created" }, image: { image: busybox }, command: ["true"] },
  });
  for (const name of ["Version", "RuntimeConfig", "ImageFsInfo", "ListMetricDescriptors"]) await ask(name);
  await ask("Status", { verbose: true });
  for (const containerId of [works, failed, broken])
    await ask("ContainerStatus", { containerId, verbose: true });
  expect((await containerStatus(daemon, broken)).reason).toBe("StartError");
  await ask("ExecSync", { containerId: works, cmd: ["sh", "-c", "echo out; echo err >&2; exit 4"] });
  const inPod = ["-t", String(await pausePid(daemon, podSandboxId)), "-n"];
  await outputOf("nsenter", [
    ...inPod,
    "ip",
    "link",
    "add",
    "more0",
    "type",
    "veth",
    "peer",
    "name",
    "more1",
  ]);
  await shellIn(daemon, works, "cat /bin/busybox > /dev/null");
  for (const name of ["Exec", "Attach"]) await ask(name, { ...validRequests[name], containerId: works });
  await ask("PortForward", { podSandboxId });

  // A rate takes two looks, some time apart.
  await eventually("a rate of the processor's use", async () => {
    await ask("ContainerStats", { containerId: works });
    return filled.has("CpuUsage.usage_nano_cores");
  });
  for (const name of ["PodSandboxStats", "PodSandboxStatus"])
    await ask(name, { podSandboxId, verbose: true });
  for (const name of methods.map((method) => method.name)) {
    if (/^(List|Stream)/.test(name)) await ask(name);
  }
  await daemon.api.stopPodSandbox({ podSandboxId });
  expect((await sandboxStatus(daemon, podSandboxId)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  for (const name of ["ListPodSandbox", "ListContainers"]) await ask(name);
  await ask("PodSandboxStatus", { podSandboxId });
  await ask("ContainerStatus", { containerId: works });
  await daemon.api.removePodSandbox({ podSandboxId });
  await eventually("events", () => filled.has("ContainerEventResponse.container_event_type"));
  watching.abort();
  await noteOtherMachines();

  const silent = methods.filter(({ name, output }) => output.fields.length > 0 && !served.has(name));
  expect(silent.map(({ name }) => name)).toEqual(ANSWERED_ELSEWHERE);
  const { empty, full } = expectations();
  expect({ missing: full.filter((field) => !filled.has(field)) }).toEqual({ missing: [] });
  expect({ unexpected: empty.filter((field) => filled.has(field)) }).toEqual({ unexpected: [] });
}, 60_000);

function userImage(name: string): string {
  return `gcr.io/k8s-staging-cri-tools/${name}:latest`;
}

function watchEvents(): AbortController {
  const aborter = new AbortController();
  const read = async () => {
    const options = { signal: aborter.signal, timeoutMs: 0 };
    for await (const event of fixture.daemon.api.getContainerEvents({}, options)) {
      note(RuntimeService.method.getContainerEvents.output, event);
    }
  };
  void read().catch(() => {});
  served.add("GetContainerEvents");
  return aborter;
}

/** What this machine may not show: no network, one of plugins, user namespaces, pressure and swap. */
async function noteOtherMachines(): Promise<void> {
  const network = { ready: false, reason: "NetworkPluginNotReady", message: "no bridge" };
  const { runtime } = newRuntime(network, { supported: true, attachAt: undefined });
  note(RuntimeService.method.status.output, await clients(runtime).cri.status({}));
  const addresses = ["10.0.0.2", "fd00::2"];
  const sandbox = { readyAtNs: "1", createdAtNs: "1", config: new JsonText({}), addresses };
  note(PodSandboxStatusSchema, statusOfRecord(sandbox as never));
  const line = { avg10: 1, avg60: 2, avg300: 3, totalUs: 4n };
  const pressure = { some: line, full: line };
  const memory = {
    usageBytes: 3,
    workingSetBytes: 2,
    rssBytes: 1,
    pageFaults: 1,
    majorPageFaults: 1,
    swapBytes: 1,
    limitBytes: 9,
    swapLimitBytes: 9,
  };
  const sample = {
    cpuAtNs: 1n,
    cpuUsageNs: 2n,
    nanoCores: 3n,
    memoryAtNs: 4n,
    memory,
    pressures: { cpu: pressure, memory: pressure, io: pressure },
  };
  noteInit(CpuUsageSchema, cpuUsage(sample as never));
  noteInit(MemoryUsageSchema, memoryUsage(sample as never));
  noteInit(SwapUsageSchema, swapUsage(sample as never));
  noteInit(IoUsageSchema, ioUsage(sample as never));
  noteInit(LinuxPodSandboxStatsSchema, { io: ioUsage(sample as never) } as never);
  noteInit(ContainerStatsSchema, { io: ioUsage(sample as never), swap: swapUsage(sample as never) } as never);
}

/** The fields that only answers have, as the page sorts them, but for those of calls that are not served. */
function expectations(): { readonly full: string[]; readonly empty: string[] } {
  const coverage = readCoverage();
  const all = readInterface().services.flatMap((service) => service.methods);
  const sent = reachableFrom(
    readInterface(),
    all.map(({ input }) => input),
  );
  const silent = all.filter(({ name }) => !served.has(name)).map(({ output }) => output);
  const answered = reachableFrom(
    readInterface(),
    all.filter(({ name }) => served.has(name)).map(({ output }) => output),
  );
  const fields = Object.entries(coverage.messages).flatMap(([message, texts]) =>
    sent.has(message) || silent.includes(message) || !answered.has(message)
      ? []
      : Object.entries(texts).map(
          ([field, text]) => [`${message}.${field}`, splitVerdict(text).verdict] as const,
        ),
  );
  const marked = (wanted: string) =>
    fields.flatMap(([field, verdict]) => (verdict === wanted ? [field] : []));
  return { full: marked("filled"), empty: marked("empty") };
}
