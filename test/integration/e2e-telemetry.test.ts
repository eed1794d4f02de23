// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openDaemon } from "../../src/cli/client.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { parseExposition, type Scrape } from "../support/exposition.ts";
import { type Collector, startCollector } from "../support/otlp-collector.ts";
import { patience } from "../support/patience.ts";
import { binary, type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { containerInfo, runContainer, runSandbox, sandboxInfo } from "./harness/pods.ts";

setDefaultTimeout(60_000 * patience);

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

let registry: Registry;
let collector: Collector;
let daemon: Daemon;
let sandboxId: string;
let containerId: string;

beforeAll(async () => {
  registry = await startImageRegistry();
  collector = startCollector();
  daemon = await startDaemon({
    mirror: registry.host,
    config: "[metrics]\nport = 0\n[log]\nlevel = 'debug'\nformat = 'logfmt'\n",
    program: {
      path: binary,
      environment: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, OTEL_BSP_SCHEDULE_DELAY: "100" },
    },
  });
  sandboxId = await runSandbox(daemon, "watched", { logDirectory: join(daemon.root, "logs") });
  containerId = await runContainer(daemon, sandboxId, {
    name: "app",
    command: [
      "sh",
      "-c",
      "echo one; head -c 40000 /dev/zero | tr '\\0' x; echo; echo three; exec sleep 3600",
    ],
    logPath: "app.log",
    envs: [{ key: "PASSWORD_OF_APP", value: Buffer.from("hunter2") as never }],
  });
});

afterAll(async () => {
  try {
    await daemon.close();
  } finally {
    collector[Symbol.dispose]();
    await registry[Symbol.asyncDispose]();
  }
});

/** What Prometheus gets, by the address in the daemon's log. */
async function scrape(): Promise<Scrape> {
  const url = /msg="metrics are served" url=(\S+)/.exec(daemon.log())?.[1] ?? "";
  const response = await fetch(url);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return parseExposition(await response.text());
}

test("calls are counted by name and code, with their latencies and where the time goes", async () => {
  const unknown = { containerId: "0".repeat(64) };
  await expect(daemon.api.containerStatus(unknown)).rejects.toThrow();
  const scraped = await scrape();
  const count = (name: string, labels: Record<string, string> = {}) => scraped.value(name, labels) ?? 0;
  expect(count("podrt_rpc_handled_total", { rpc: "RunPodSandbox", code: "OK" })).toBe(1);
  expect(count("podrt_rpc_handled_total", { rpc: "ContainerStatus", code: "NotFound" })).toBe(1);
  expect(count("podrt_rpc_duration_seconds_count", { rpc: "StartContainer" })).toBe(1);
  const phases: Record<string, string[]> = {
    RunPodSandbox: ["prepare", "monitor", "pause", "network", "plugins", "record"],
    CreateContainer: ["resolve", "plugins", "snapshot", "root", "cgroup", "record"],
    StartContainer: ["lock", "prepare", "plugins", "compile", "launch", "record"],
    PullImage: ["manifest", "layers"],
  };
  for (const [operation, names] of Object.entries(phases)) {
    const sums = names.map((phase) => {
      const labels = { operation, phase };
      expect([phase, count("podrt_operation_phase_duration_seconds_count", labels)]).toEqual([phase, 1]);
      return count("podrt_operation_phase_duration_seconds_sum", labels);
    });
    const whole = count("podrt_rpc_duration_seconds_sum", { rpc: operation });
    expect(sums.reduce((sum, seconds) => sum + seconds)).toBeLessThanOrEqual(whole + 0.001);
  }
});

test("verbose status says where the time of the last operations on a pod or container went", async () => {
  const timingsIn = (info: Record<string, unknown>) =>
    (info["timings"] as { operation: string; code: string; durationMs: number; phasesMs: object }[]).map(
      ({ operation, code, durationMs, phasesMs }) => {
        expect(Object.values(phasesMs).every((ms) => ms >= 0 && ms <= durationMs)).toBe(true);
        return [`${operation} ${code}`, ...Object.keys(phasesMs)].join(" ");
      },
    );
  expect(timingsIn(await sandboxInfo(daemon, sandboxId))).toEqual([
    "RunPodSandbox OK prepare files monitor cgroup pause network plugins record",
  ]);
  expect(timingsIn(await containerInfo(daemon, containerId))).toEqual([
    "CreateContainer OK resolve plugins snapshot root cgroup record",
    "StartContainer OK lock prepare plugins network compile launch record",
  ]);
});

test("pulls, logs, events and states are counted", async () => {
  const missing = `${registry.host}/library/busybox:of-tomorrow`;
  await expect(daemon.api.pullImage({ image: { image: missing } })).rejects.toThrow();
  const records = "podrt_log_records_total";
  const scraped = await eventually("the output is in the log", async () => {
    const now = await scrape();
    return (now.value(records) ?? 0) >= 5 ? now : undefined;
  });
  const count = (name: string, labels: Record<string, string> = {}) => scraped.value(name, labels) ?? -1;
  expect(count("podrt_image_pulls_total", { outcome: "OK" })).toBe(1);
  expect(count("podrt_image_pulls_total", { outcome: "NotFound" })).toBe(1);
  expect(count("podrt_image_pull_duration_seconds_count")).toBe(2);
  expect(count("podrt_image_pull_bytes_total")).toBeGreaterThan(100_000);
  // 40000 bytes of one line are two whole records and a third with its end.
  expect([count(records), count("podrt_log_splits_total")]).toEqual([5, 2]);
  expect(count("podrt_log_input_bytes_total")).toBe("one".length + 40_000 + "three".length);
  expect(count("podrt_events_total", { type: "started" })).toBe(2);
  expect(count("podrt_sandboxes", { state: "ready" })).toBe(1);
  expect(count("podrt_containers", { state: "running" })).toBe(1);
  expect(count("podrt_monitors")).toBe(1);
  for (const name of [
    "podrt_event_loop_delay_seconds_count",
    "process_resident_memory_bytes",
    "process_open_fds",
  ]) {
    expect(count(name)).toBeGreaterThan(0);
  }
});

test("no label names a pod, a container or an image", async () => {
  const { lines } = await scrape();
  const values = new Set(lines.flatMap(({ labels }) => Object.values(labels)));
  for (const value of values) {
    expect(value).not.toContain(sandboxId);
    expect(value).not.toContain(containerId);
    expect(value).not.toMatch(/busybox|watched|docker/);
  }
  expect(lines.length).toBeLessThan(1500);
});

test("the kubelet's trace goes on with the call, its phases and its lines in the log", async () => {
  using client = openDaemon(daemon.socket);
  const headers = { traceparent: `00-${TRACE}-${PARENT}-01` };
  const { podSandboxId } = await client.runtime.runPodSandbox(
    { config: { metadata: { name: "traced", namespace: "default", uid: "uid-traced" } } },
    { headers },
  );
  await client.runtime.stopPodSandbox({ podSandboxId }, { headers });
  const call = await eventually("the span has arrived", () =>
    collector.spans.find(({ name, traceId }) => name === "RunPodSandbox" && traceId === TRACE),
  );
  expect(call).toMatchObject({
    parentSpanId: PARENT,
    kind: 2,
    attributes: { "rpc.response.status_code": "OK", "podrt.podSandboxId": podSandboxId },
    resource: { "service.name": "podrt" },
  });
  const phases = collector.spans.filter(({ parentSpanId }) => parentSpanId === call.spanId);
  expect(phases.map(({ name }) => name)).toEqual([
    "prepare",
    "files",
    "monitor",
    "cgroup",
    "pause",
    "network",
    "plugins",
    "record",
  ]);
  const line = daemon
    .log()
    .split("\n")
    .find((text) => text.includes("rpc=RunPodSandbox") && text.includes(TRACE));
  expect(line).toMatch(/^time=\S+ level=info msg=rpc rpc=RunPodSandbox durationMs=\S+ code=OK traceId=/);
  expect(line).toContain(`podSandboxId=${podSandboxId}`);
});

test("what a kubelet does not trace begins a trace of its own, and a failure says what it is", async () => {
  const span = await eventually("the span has arrived", () =>
    collector.spans.find(({ name, statusCode }) => name === "PullImage" && statusCode === 2),
  );
  expect(span.parentSpanId).toBe("");
  expect(span.attributes["rpc.response.status_code"]).toBe("NotFound");
  expect(span.statusMessage).toContain("busybox:of-tomorrow");
});

interface Dump {
  readonly takenBy: string;
  readonly operations: { name: string; phase?: string; ageMs: number; askedBy: string }[];
  readonly daemon: { pid: number; descriptors: Record<string, string>; threads: { waitsIn: string }[] };
  readonly monitors: Record<string, { children: number[]; commandLine: string[] }>;
  readonly cgroups: Record<string, { processes: number[] }>;
  readonly records: Record<string, Record<string, Record<string, unknown>>>;
  readonly mounts: string[];
  readonly log: Record<string, unknown>[];
  readonly metrics: string[];
}

async function dump(...options: string[]): Promise<{ readonly text: string; readonly dump: Dump }> {
  const { code, stdout, stderr } = await daemon.podrt("debug", "dump", ...options);
  expect([code, stderr]).toEqual([0, ""]);
  return { text: stdout, dump: JSON.parse(stdout) };
}

test("a debug dump shows what is under way, what there is and what it came from, without secrets", async () => {
  const sleeping = daemon.api.execSync({ containerId, cmd: ["sh", "-c", "touch /there; exec sleep 3600"] });
  sleeping.catch(() => {});
  const taken = await eventually("the exec is under way", async () => {
    const now = await dump();
    return now.dump.operations.some(({ phase }) => phase === "command") ? now : undefined;
  });
  const { text, dump: dumped } = taken;
  expect(dumped.takenBy).toBe("the daemon");
  expect(dumped.operations).toContainEqual(
    expect.objectContaining({ name: "ExecSync", askedBy: "a client", phase: "command" }),
  );
  expect(dumped.daemon.pid).toBe(daemon.pid());
  expect(Object.values(dumped.daemon.descriptors).join()).toContain("socket:");
  expect(dumped.daemon.threads.length).toBeGreaterThan(0);
  expect(dumped.monitors[sandboxId]?.commandLine.slice(0, 2)).toEqual(["podrt-monitor", sandboxId]);
  expect(dumped.monitors[sandboxId]?.children.length).toBeGreaterThanOrEqual(2);
  expect(dumped.cgroups[containerId]?.processes.length).toBeGreaterThanOrEqual(1);
  expect(dumped.records["sandboxes"]?.[sandboxId]).toMatchObject({ name: "watched" });
  expect(dumped.records["container_specs"]?.[containerId]).toMatchObject({ runtimeSpec: expect.anything() });
  expect(dumped.mounts.some((line) => line.includes(`${sandboxId}/netns`))).toBe(true);
  expect(dumped.log.some(({ msg }) => msg === "podrt serves")).toBe(true);
  parseExposition(`${dumped.metrics.join("\n")}\n`);
  expect(text).toContain("PASSWORD_OF_APP");
  expect(text).not.toContain("hunter2");
  expect(text).not.toContain(Buffer.from("hunter2").toString("base64"));
});

test("SIGUSR1 lets the daemon write its dump to a file of root's", async () => {
  process.kill(daemon.pid(), "SIGUSR1");
  const file = join(daemon.root, "run/debug.json");
  await eventually("the file is there", () => existsSync(file));
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ takenBy: "the daemon" });
  rmSync(file);
});

test("a daemon that hangs, or is dead, is looked at from outside", async () => {
  process.kill(daemon.pid(), "SIGSTOP");
  try {
    const { dump: ofHung } = await dump("--timeout", "1");
    expect(ofHung.takenBy).toStartWith("a command: the daemon did not answer in time");
    expect(ofHung.daemon.pid).toBe(daemon.pid());
    expect(ofHung.monitors[sandboxId]?.commandLine.slice(0, 2)).toEqual(["podrt-monitor", sandboxId]);
  } finally {
    process.kill(daemon.pid(), "SIGCONT");
  }
  await daemon.kill();
  const { dump: ofDead } = await dump();
  expect(ofDead.takenBy).toStartWith("a command: no daemon answers at");
  expect(ofDead.daemon as unknown).toBe("no daemon runs");
  expect(ofDead.records["containers"]?.[containerId]).toMatchObject({ name: "app" });
  expect(ofDead.cgroups[containerId]?.processes.length).toBeGreaterThanOrEqual(1);
  await daemon.start();
});
