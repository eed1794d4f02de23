// SPDX-License-Identifier: Apache-2.0

/**
 * Measures what exec probes cost: pods with one each second, a minute of them. Prints the processor time of the runtime's
 * daemon and of all that it keeps for pods, how long the kubelet waited for each exec, and by how much more than a
 * second two probes of a container were apart: each notes the time when it runs. Run by run.ts.
 *
 * usage: bun test/kubelet/probes.ts PODS [SECONDS]   (60)
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { describeMachine } from "../bench/machine.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { procText } from "../integration/harness/proc.ts";
import { type Cluster, nodeName, startCluster } from "./cluster.ts";
import { podOf, shell } from "./manifest.ts";
import { processesOfPods, type Runtime, startRuntime } from "./runtime.ts";

const ticksPerSecond = 100;
const readyTimeoutMs = 480_000;

const pods = Number(process.argv[2]);
const seconds = Number(process.argv[3] ?? 60);
const beatsDir = mkdtempSync(join(tmpdir(), "podrt-probes-"));
process.exitCode = await main()
  .then(
    () => 0,
    (error: unknown) => {
      console.error(error);
      return 1;
    },
  )
  .finally(() => rmSync(beatsDir, { recursive: true }));

async function main(): Promise<void> {
  await using registry = await startImageRegistry();
  const runtime = await startRuntime(registry.host);
  try {
    const cluster = await startCluster(runtime.socket);
    try {
      await makePods(cluster);
      await measure(runtime, cluster);
    } finally {
      await cluster.kubectlWith(
        { timeoutMs: 300_000 },
        "delete",
        "pods",
        "--all",
        "--grace-period=1",
        "--timeout=280s",
      );
      await cluster.close();
    }
  } finally {
    await runtime.close();
  }
}

async function makePods(cluster: Cluster): Promise<void> {
  const note = "read now _ < /proc/uptime; echo $now >> /beats/$HOSTNAME";
  const probe = { exec: { command: ["sh", "-c", note] }, periodSeconds: 1, timeoutSeconds: 10 };
  const items = Array.from({ length: pods }, (_, index) =>
    podOf(`pod-${index}`, {
      volumes: [{ name: "beats", hostPath: { path: beatsDir, type: "Directory" } }],
      containers: [
        shell("app", "exec sleep 36000", {
          livenessProbe: probe,
          volumeMounts: [{ name: "beats", mountPath: "/beats" }],
        }),
      ],
    }),
  );
  await cluster.apply({ apiVersion: "v1", kind: "List", items });
  await eventually("every pod is probed", () => readdirSync(beatsDir).length === pods, readyTimeoutMs);
  // What starting them all has left undone is done before the measurement.
  await Bun.sleep(15_000);
}

async function measure(runtime: Runtime, cluster: Cluster): Promise<void> {
  const before = await readings(runtime, cluster);
  const from = uptimeSeconds();
  const loadBefore = loadavg()[0]!;
  await Bun.sleep(seconds * 1000);
  const to = uptimeSeconds();
  const after = await readings(runtime, cluster);
  const beats = readdirSync(beatsDir).map((name) => beatsOf(name).filter((at) => at >= from && at <= to));
  const probes = beats.reduce((sum, { length }) => sum + length, 0);
  const late = beats.flatMap(([first = from, ...rest]) => {
    const all = [first, ...rest, to];
    return all.slice(1).map((at, index) => Math.max(0, at - all[index]! - 1));
  });
  late.sort((a, b) => a - b);
  const share = (part: number) => late[Math.min(late.length - 1, Math.floor(late.length * part))]!.toFixed(2);
  const elapsed = to - from;
  const cpu = (name: "daemon" | "all") => {
    const used = (after.ticks[name] - before.ticks[name]) / ticksPerSecond;
    return `${((used / elapsed) * 100).toFixed(1)} % of a core, ${((used * 1000) / probes).toFixed(2)} ms a probe`;
  };
  console.log(
    `${runtime.name}: ${pods} pods, ${probes} exec probes in ${elapsed.toFixed(0)} s, ${describeMachine()}`,
  );
  console.log(
    `load ${loadBefore.toFixed(1)} before, ${loadavg()[0]!.toFixed(1)} after, with what else the machine does`,
  );
  console.log(`the daemon: ${cpu("daemon")}`);
  console.log(`with monitors or shims, and the probes themselves: ${cpu("all")}`);
  console.log(`an exec took ${histogram(before.execs, after.execs)}`);
  console.log(
    `two probes were apart by more than a second: p50 ${share(0.5)} s, p99 ${share(0.99)} s, at most ${share(1)} s`,
  );
}

async function readings(runtime: Runtime, cluster: Cluster) {
  const metrics = await cluster.kubectl("get", "--raw", `/api/v1/nodes/${nodeName}/proxy/metrics`);
  const kept = await processesOfPods(runtime, cluster.cgroupRoot);
  const daemon = ticksOf(runtime.pid());
  return {
    ticks: {
      daemon: daemon.own,
      all: daemon.own + daemon.children + kept.map(ticksOf).reduce((sum, t) => sum + t.own + t.children, 0),
    },
    execs: buckets(metrics),
  };
}

/** Processor time of a process, and of the children that it has waited for (proc_pid_stat(5), fields 14 to 17). */
function ticksOf(pid: number): { readonly own: number; readonly children: number } {
  const fields = procText(`/proc/${pid}/stat`).split(") ")[1]?.split(" ").map(Number) ?? [];
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15);
  return { own: user + system, children: childUser + childSystem };
}

function uptimeSeconds(): number {
  return Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
}

function beatsOf(name: string): number[] {
  return readFileSync(join(beatsDir, name), "utf8").trimEnd().split("\n").map(Number);
}

/** The kubelet's cumulative counts of execs by how long they took at most, in seconds. */
function buckets(metrics: string): Map<number, number> {
  const pattern =
    /^kubelet_runtime_operations_duration_seconds_bucket\{operation_type="exec_sync",le="([^"]+)"\} (\S+)$/gm;
  return new Map(
    [...metrics.matchAll(pattern)].map(([, le, n]) => [le === "+Inf" ? Infinity : Number(le), Number(n)]),
  );
}

function histogram(before: Map<number, number>, after: Map<number, number>): string {
  const counts = [...after]
    .map(([le, n]) => [le, n - (before.get(le) ?? 0)] as const)
    .sort(([a], [b]) => a - b);
  const all = counts.at(-1)?.[1] ?? 0;
  const below = (part: number) => counts.find(([, n]) => n >= all * part)?.[0];
  const shown = [0.5, 0.99, 1].map(
    (part) => `${part === 1 ? "all" : `${part * 100} %`} below ${below(part)} s`,
  );
  return `${shown.join(", ")} (${all} counted by the kubelet)`;
}
