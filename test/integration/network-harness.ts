// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../../src/config.ts";
import type { Fd } from "../../src/linux/fd.ts";
import { openNamespace, withNetworkNamespace } from "../../src/linux/namespace.ts";
import type { HostPort } from "../../src/network/attachment.ts";
import { type BridgeNetwork, openBridgeNetwork } from "../../src/network/bridge.ts";
import type { LeaseRecord } from "../../src/network/ipam.ts";
import { openDatabase } from "../../src/state/database.ts";
import { openTable, type Table } from "../../src/state/table.ts";

/** Runs a program and returns what it prints; its failure is thrown with what it said. */
export function run(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit ${exitCode}: ${stderr}`);
  return stdout.toString();
}

/** Answers with its name and the address of who asks, from inside the namespace where one is given. */
export function serve(
  name: string,
  port: number,
  namespaceFd?: number,
  hostname = "0.0.0.0",
): Bun.Server<undefined> {
  const start = () =>
    Bun.serve({
      port,
      hostname,
      fetch: (request, server) => new Response(`${name} asked by ${server.requestIP(request)?.address}`),
    });
  return namespaceFd === undefined ? start() : withNetworkNamespace(namespaceFd, start);
}

/** A host port that leads to a pod's port 80. */
export function tcp(hostPort: number, hostIp = ""): HostPort {
  return { protocol: "tcp", containerPort: 80, hostPort, hostIp };
}

/** A network namespace kept by a sleeping process. */
export class TestPod implements AsyncDisposable {
  readonly id = randomBytes(32).toString("hex");
  readonly namespace: Fd;
  readonly #process: Bun.Subprocess;

  private constructor(process: Bun.Subprocess) {
    this.#process = process;
    this.namespace = openNamespace(process.pid, "net");
  }

  static async start(): Promise<TestPod> {
    const process = Bun.spawn(["unshare", "-n", "sleep", "600"]);
    const own = readlinkSync("/proc/self/ns/net");
    for (let tries = 0; readlinkSync(`/proc/${process.pid}/ns/net`) === own; tries++) {
      if (tries > 500) throw new Error("unshare did not make a network namespace");
      await Bun.sleep(2);
    }
    return new TestPod(process);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Runs a program in the pod's network. */
  run(...command: string[]): string {
    return run("nsenter", "-t", `${this.pid}`, "-n", ...command);
  }

  /** What a GET from inside the pod answers, asked by a program of its own; undefined when nothing does. */
  async get(url: string): Promise<string | undefined> {
    const request = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(2000) })`;
    const program = `process.stdout.write(await (await ${request}).text())`;
    const command = ["nsenter", "-t", `${this.pid}`, "-n", process.execPath, "-e", program];
    const child = Bun.spawn(command, { env: {}, stdout: "pipe", stderr: "ignore" });
    const text = await new Response(child.stdout).text();
    return (await child.exited) === 0 ? text : undefined;
  }

  /** Ends the process, and with it the namespace. */
  async end(): Promise<void> {
    this.namespace.close();
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** A pod network of its own name and subnet, with its state in a directory of its own. */
export interface TestNetwork extends AsyncDisposable {
  readonly network: BridgeNetwork;
  readonly config: Config["network"];
  readonly directory: string;
  readonly leases: Table<LeaseRecord>;
  readonly warnings: string[];
  /** Closes the state and leaves the machine as it is, as a daemon that stops does. */
  close(): void;
}

export function testConfig(overrides: Partial<Config["network"]> = {}): Config["network"] {
  const suffix = randomBytes(3).toString("hex");
  const third = 1 + (randomBytes(1).readUInt8() % 250);
  return {
    bridge: `prt${suffix}`,
    subnets: [`10.99.${third}.0/24`],
    mtu: 1400,
    masquerade: true,
    followsPodCidr: false,
    table: `podrt_${suffix}`,
    cniRequired: false,
    cniPluginDirs: [],
    cniTimeoutMs: 0,
    ...overrides,
  };
}

/** Opens the network; state in `directory` where one is given, as a daemon that is started again does. */
export function openTestNetwork(config = testConfig(), directory?: string): TestNetwork {
  const place = directory ?? mkdtempSync(join(tmpdir(), "podrt-network-"));
  const database = openDatabase(join(place, "podrt.db"));
  const leases = openTable<LeaseRecord>(database, "leases");
  const settings = openTable<unknown>(database, "settings");
  const warnings: string[] = [];
  const log = { info: () => {}, warn: (_: object, message: string) => warnings.push(message) };
  const network = openBridgeNetwork({ config, leases, settings, log });
  const attach = network.attach.bind(network);
  // As the first process of a pod does.
  network.attach = async (request) => {
    const attachment = await attach(request);
    await network.usable(request.sandboxId);
    return attachment;
  };
  return {
    network,
    config,
    directory: place,
    leases,
    warnings,
    close: () => database.close(),
    async [Symbol.asyncDispose]() {
      await network.reconcile(new Set());
      database.close();
      if (directory === undefined) rmSync(place, { recursive: true });
    },
  };
}

/** What the machine shows of a network: its bridge, its table, its links, as the system's tools see them. */
export function remainders({ bridge, table }: Config["network"], links: readonly string[] = []): string[] {
  const present: string[] = (JSON.parse(run("ip", "-j", "link")) as { ifname: string }[]).map(
    (link) => link.ifname,
  );
  const names = [bridge, ...links].filter((name) => present.includes(name));
  const tables = [
    hasTable(table) ? `table ${table}` : "",
    hasTable(table, "ip6") ? `table ip6 ${table}` : "",
  ];
  return [...names, ...tables.filter((text) => text !== "")];
}

export function hasTable(table: string, family: "ip" | "ip6" = "ip"): boolean {
  return run("nft", "list", "tables").split("\n").includes(`table ${family} ${table}`);
}

/** True when another instance of podrt is in business, which then has a say in ip_forward. */
export function hasOtherInstances(...own: string[]): boolean {
  const tables = run("nft", "list", "tables").match(/podrt\S*/g) ?? [];
  return tables.some((name) => !own.includes(name));
}

export function ipForward(): string {
  return readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8").trim();
}

export function ipv6Forward(): string {
  return readFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "utf8").trim();
}

/** Subnets of both families for a network of its own, IPv4 first; with the beginning of their addresses. */
export function bothSubnets(): { subnets: [string, string]; prefix6: string } {
  const prefix6 = `fd99:${randomBytes(2).toString("hex").replace(/^0+/, "1")}::`;
  return { subnets: [testConfig().subnets[0]!, `${prefix6}/64`], prefix6 };
}
