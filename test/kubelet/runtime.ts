// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { outputOf, runCommand } from "../integration/harness/command.ts";
import { type DaemonOptions, startDaemon } from "../integration/harness/daemon.ts";
import { allPids, procText } from "../integration/harness/proc.ts";
import { reboot } from "../integration/harness/reboot.ts";
import { startContainerd } from "./containerd.ts";
import { bridgeNetwork, leasesIn, pluginsDir } from "./plugin-network.ts";

/** A container runtime by which a kubelet runs its pods, with everything that it keeps in a directory of its own. */
export interface Runtime {
  /** As it calls itself. */
  readonly name: string;
  readonly socket: string;
  pid(): number;
  /** Ends it by SIGKILL; its pods go on. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** What a reboot does: the processes are ended, the run directory goes, /var stays, and the runtime starts. */
  reboot(pids: readonly number[]): Promise<void>;
  /** The addresses that it keeps for pods. */
  leases(): Promise<string[]>;
  /** Ends it with its pods; nothing of it is left. */
  close(): Promise<void>;
}

/** The runtime that is asked for by PEER, podrt otherwise; `mirror` is the registry of all images. */
export async function startRuntime(mirror: string): Promise<Runtime> {
  const peer = process.env["PEER"] || "podrt";
  if (peer === "containerd") return startContainerd(mirror);
  if (peer !== "podrt") throw new Error(`PEER is ${peer}: there are podrt and containerd`);
  return process.env["CNI"] === "1" ? startWithPlugins(mirror) : startPodrt({ mirror });
}

async function startPodrt(options: DaemonOptions): Promise<Runtime> {
  const daemon = await startDaemon(options);
  return {
    name: "podrt",
    socket: daemon.socket,
    pid: daemon.pid,
    kill: daemon.kill,
    start: () => daemon.start(),
    reboot: (pids) => reboot(daemon, { pids }),
    async leases() {
      using database = new Database(join(daemon.root, "lib/podrt.db"), { readonly: true });
      const rows = database
        .query("SELECT json_extract(record, '$.addresses[0]') AS address FROM leases")
        .all();
      return (rows as { address: string }[]).map(({ address }) => address);
    },
    close: daemon.close,
  };
}

/** podrt with pods in a network of plugins, whose state is kept over a reboot as those below /var/lib/cni are. */
async function startWithPlugins(mirror: string): Promise<Runtime> {
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  const leasesDir = join(root, "lib/cni-leases");
  const configDir = join(root, "cni/net.d");
  mkdirSync(configDir, { recursive: true });
  const network = bridgeNetwork({ bridge: "cni0", leasesDir, subnet: "10.126.0.0/20" });
  writeFileSync(join(configDir, "10-node.conflist"), JSON.stringify(network));
  const runtime = await startPodrt({
    root,
    mirror,
    network: `cni_plugin_dirs = [${JSON.stringify(pluginsDir)}]`,
  });
  return {
    ...runtime,
    async reboot(pids) {
      await runCommand("ip", ["link", "delete", "cni0"]);
      await runtime.reboot(pids);
    },
    leases: async () => leasesIn(leasesDir),
  };
}

/** What crictl answers as JSON about the runtime. */
async function asked<T>({ socket }: Runtime, ...args: readonly string[]): Promise<T> {
  const endpoint = ["--config=/dev/null", `--runtime-endpoint=unix://${socket}`, "--timeout=30s"];
  return JSON.parse(await outputOf(join(buildDir, "bin/crictl"), [...endpoint, ...args, "-o", "json"])) as T;
}

interface PodList {
  readonly items: readonly { readonly id: string; readonly metadata: { readonly name: string } }[];
}

/** The names of the pods that run; the kubelet removes those that have ended within minutes. */
export async function runningPods(runtime: Runtime): Promise<string[]> {
  return (await asked<PodList>(runtime, "pods", "--state", "ready")).items.map(
    ({ metadata }) => metadata.name,
  );
}

export async function hasImage(runtime: Runtime, image: string): Promise<boolean> {
  const { images } = await asked<{ images: readonly { repoTags: readonly string[] }[] }>(runtime, "images");
  return images.some(({ repoTags }) => repoTags.includes(image));
}

/** The processes of all pods, and those that watch over them: they are in the pods' cgroups or name them. */
export async function processesOfPods(runtime: Runtime, cgroupRoot: string): Promise<number[]> {
  const { items } = await asked<PodList>(runtime, "pods");
  return allPids().filter(
    (pid) =>
      procText(`/proc/${pid}/cgroup`).includes(`${cgroupRoot}/`) ||
      items.some(({ id }) => procText(`/proc/${pid}/cmdline`).includes(id)),
  );
}
