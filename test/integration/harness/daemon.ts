// SPDX-License-Identifier: Apache-2.0

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, createClient } from "@connectrpc/connect";
import { PodService } from "../../../src/gen/podrt/v1/podrt_pb.ts";
import { buildDir, projectDir } from "../../fixtures/images/packages.ts";
import { patience } from "../../support/patience.ts";
import { type Api, connectApi, unixTransport } from "./api.ts";
import { type CommandOptions, type CommandResult, outputOf, runCommand } from "./command.ts";
import { eventually } from "./eventually.ts";
import { forceAway } from "./force-away.ts";
import { type Baseline, leftovers, takeBaseline } from "./leftovers.ts";
import { memoryPeakOf } from "./proc.ts";

/** The compiled program under test. */
export const binary = join(projectDir, "dist/podrt");
export const crictlBinary = join(buildDir, "bin/crictl");
/** Clients written in Go exist only where Go is. */
export const hasCrictl = existsSync(crictlBinary);

const startTimeoutMs = 20_000;

/** The most memory that the daemon ever has, whatever is done to it; docs/security.md promises it. */
export const MEMORY_BOUND_BYTES = 768 * 1024 * 1024;

/** A compiled podrt that serves below a directory of its own. */
export interface Daemon {
  readonly root: string;
  readonly socket: string;
  readonly api: Api;
  /** The pods that the daemon keeps from manifests. */
  readonly pods: Client<typeof PodService>;
  pid(): number;
  /** What the daemon has written to stderr. */
  log(): string;
  /** A command of podrt, spoken to this daemon: the command's name first. */
  podrt(...args: readonly string[]): Promise<CommandResult>;
  podrtWith(options: CommandOptions, ...args: readonly string[]): Promise<CommandResult>;
  /** crictl pointed at the socket; it must succeed; answers its stdout. */
  crictl(...args: readonly string[]): Promise<string>;
  crictlResult(...args: readonly string[]): Promise<CommandResult>;
  /** Ends the daemon by SIGKILL; its pods go on. */
  kill(): Promise<void>;
  /** Starts it again, or another build of it. */
  start(program?: Program): Promise<void>;
  leftovers(): Promise<string[]>;
  /** Removes every pod and container; images stay. */
  removeEverything(): Promise<void>;
  /** Lets the daemon run on when this process ends. */
  leave(): void;
  /** Removes everything, ends the daemon by SIGTERM and fails if anything of it is left, or it had too much memory. */
  close(): Promise<void>;
}

/** Another build of the program than the one in dist, with what it finds in its environment. */
export interface Program {
  readonly path: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface DaemonOptions {
  /** `127.0.0.1:PORT` of a registry that is to serve docker.io, registry.k8s.io, gcr.io and k8s.gcr.io. */
  readonly mirror?: string;
  /** More of config.toml. */
  readonly config?: string;
  /** More of its section `network`. */
  readonly network?: string;
  /** What `network.subnet` says: a subnet of IPv4 unless told, one of IPv6 beside it, or nothing. */
  readonly subnets?: "both" | "none";
  /** An empty directory for everything of the daemon; a temporary one unless told. */
  readonly root?: string;
  readonly program?: Program;
}

export async function startDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  const root = options.root ?? mkdtempSync(join(tmpdir(), "prt-"));
  const ipv4 = await freeSubnet();
  const subnet = options.subnets === "both" ? [ipv4, randomSubnet6()] : ipv4;
  const line = options.subnets === "none" ? "" : `subnet = ${JSON.stringify(subnet)}\n`;
  const network = `[network]\n${line}${options.network ?? ""}`;
  writeFileSync(join(root, "config.toml"), `${configuration(options)}\n${network}\n`);
  const baseline = await takeBaseline();
  const process = daemonProcess(root, options.program);
  try {
    await process.start();
  } catch (error) {
    await process.end("SIGKILL");
    rmSync(root, { recursive: true, force: true });
    throw error;
  }
  return daemonAt(root, process, baseline);
}

/** One of the 2,048 subnets that instances take by their name, but none that another instance uses right now. */
async function freeSubnet(): Promise<string> {
  const taken = await outputOf("ip", ["route", "show", "table", "all"]);
  for (;;) {
    const [second, third] = [128 + Math.floor(Math.random() * 128), 16 * Math.floor(Math.random() * 16)];
    if (!taken.includes(`10.${second}.${third}.`)) return `10.${second}.${third}.0/20`;
  }
}

/** One of 2^32 subnets: nobody else will have it. */
function randomSubnet6(): string {
  const [, high = "", low = ""] = /^(.{4})(.{4})/.exec(randomBytes(4).toString("hex")) ?? [];
  return `fd97:0:${high}:${low}::/64`;
}

function configuration({ mirror, config = "" }: DaemonOptions): string {
  const hosts = mirror === undefined ? [] : ["docker.io", "registry.k8s.io", "gcr.io", "k8s.gcr.io"];
  const mirrors = hosts.map((host) => `[registries."${host}"]\nmirrors = ["http://${mirror}"]\n`);
  const itself = mirror === undefined ? "" : `[registries."${mirror}"]\nplain_http = true\n`;
  return `${mirrors.join("")}${itself}${config}`;
}

interface DaemonProcess {
  pid(): number;
  start(program?: Program): Promise<void>;
  leave(): void;
  /** Sends the signal and answers the exit code (128 + n when a signal ended it) once the process is gone. */
  end(signal: "SIGKILL" | "SIGTERM"): Promise<number>;
}

function daemonProcess(root: string, usual: Program = { path: binary }): DaemonProcess {
  let child: ChildProcess | undefined;
  const socket = join(root, "run/podrt.sock");
  const killAtExit = () => child?.kill("SIGKILL");
  const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;
  return {
    pid: () => child?.pid ?? 0,
    async start(program = usual) {
      const log = openSync(join(root, "daemon.log"), "a");
      const started = spawn(program.path, ["serve", "--root", root], {
        cwd: "/",
        stdio: ["ignore", log, log],
        env: { ...process.env, ...program.environment },
      });
      closeSync(log);
      child = started;
      process.off("exit", killAtExit);
      process.on("exit", killAtExit);
      const api = connectApi(socket);
      const ready = async () => {
        if (hasEnded(started)) return true;
        return (await api.version({})).runtimeName !== "";
      };
      await eventually("podrt serve answers on its socket", ready, startTimeoutMs);
      if (hasEnded(started)) {
        const log = readFileSync(join(root, "daemon.log"), "utf8");
        const how = started.exitCode ?? started.signalCode;
        throw new Error(`podrt serve ended with ${how}: ${log.slice(-10_000)}`);
      }
    },
    leave() {
      process.off("exit", killAtExit);
    },
    async end(signal) {
      process.off("exit", killAtExit);
      const ending = child;
      child = undefined;
      if (ending === undefined || hasEnded(ending)) return ending?.exitCode ?? 0;
      const ended = new Promise<number>((resolve) => {
        ending.once("exit", (code, by) => resolve(code ?? (by === "SIGKILL" ? 137 : 143)));
      });
      ending.kill(signal);
      return await Promise.race([ended, Bun.sleep(15_000 * patience).then(() => -1)]);
    },
  };
}

function daemonAt(root: string, process: DaemonProcess, baseline: Baseline): Daemon {
  const socket = join(root, "run/podrt.sock");
  const api = connectApi(socket);
  const pods = createClient(PodService, unixTransport(socket));
  const endpoint = ["--runtime-endpoint", `unix://${socket}`, "--timeout", `${30 * patience}s`];
  // Not the machine's own configuration of crictl.
  const crictlOptions = { env: { CRI_CONFIG_FILE: join(root, "crictl.yaml") } };
  writeFileSync(join(root, "crictl.yaml"), "");
  const log = () => readFileSync(join(root, "daemon.log"), "utf8");
  const podrtWith = (options: CommandOptions, ...args: readonly string[]) => {
    const [command, ...rest] = args;
    return runCommand(binary, [command!, "--root", root, ...rest], options);
  };
  const removeEverything = async () => {
    for (const { name } of (await pods.listPods({})).pods) {
      if (name !== undefined)
        await pods.deletePod({ namespace: name.namespace, name: name.name, graceSeconds: 0 });
    }
    for (const { id } of (await api.listPodSandbox({})).items) {
      await api.stopPodSandbox({ podSandboxId: id });
      await api.removePodSandbox({ podSandboxId: id });
    }
  };
  return {
    root,
    socket,
    api,
    pods,
    pid: process.pid,
    log,
    podrt: (...args) => podrtWith({}, ...args),
    podrtWith,
    crictl: (...args) => outputOf(crictlBinary, [...endpoint, ...args], crictlOptions),
    crictlResult: (...args) => runCommand(crictlBinary, [...endpoint, ...args], crictlOptions),
    async kill() {
      await process.end("SIGKILL");
    },
    start: process.start,
    leave: process.leave,
    leftovers: () => leftovers(root, baseline, process.pid() === 0 ? undefined : process.pid()),
    removeEverything,
    async close() {
      const problems: string[] = [];
      try {
        await removeEverything();
        problems.push(...(await leftovers(root, baseline, process.pid())));
        const peak = memoryPeakOf(process.pid());
        if (peak > MEMORY_BOUND_BYTES) problems.push(`the daemon has had ${peak} bytes of memory`);
        const code = await process.end("SIGTERM");
        if (code !== 0) problems.push(`podrt serve exited with ${code} on SIGTERM`);
        problems.push(...(await leftovers(root, baseline)));
      } catch (error) {
        problems.push(String(error));
      }
      await process.end("SIGKILL");
      if (problems.length > 0) {
        problems.push(...log().split("\n").slice(-20));
        await forceAway(root, baseline);
      }
      rmSync(root, { recursive: true, force: true });
      if (problems.length > 0) throw new Error(`left behind:\n${problems.join("\n")}`);
    },
  };
}
