// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { patience } from "../support/patience.ts";
import { configureNetwork } from "./harness/cni.ts";
import { binary, type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { pausePid, runSandbox, type SandboxConfig, sandboxStatus } from "./harness/pods.ts";
import { run, TestPod } from "./network-harness.ts";

// The plugins that most networks are made of, as Debian has them. The daemon is in a network namespace of its own:
// their bridges, rules and settings go with that, and the machine's stay as they are.

const pluginDir = join(buildDir, "packages/cni/root/usr/lib/cni");
const hasPlugins = existsSync(join(pluginDir, "bridge"));
/** What stable releases of Debian have does not know STATUS and GC. */
const cniVersion = hasPlugins && versions().includes('"1.1.0"') ? "1.1.0" : "1.0.0";
const HOST_PORT = 8080;

interface Link {
  readonly ifname: string;
  readonly operstate: string;
  readonly linkinfo?: { readonly info_kind: string };
  readonly addr_info: readonly { readonly local: string; readonly scope: string }[];
}

function versions(): string {
  const env = { CNI_COMMAND: "VERSION" };
  const stdin = Buffer.from('{"cniVersion":"1.0.0"}');
  return Bun.spawnSync([join(pluginDir, "bridge")], { env, stdin }).stdout.toString();
}

// Without the package there is nothing to test, as the fetching script has said; some of the plugins run iptables.
describe.skipIf(!hasPlugins || Bun.which("iptables") === null)("plugins of the CNI project", () => {
  setDefaultTimeout(60_000 * patience);
  let home: TestPod;
  let daemon: Daemon;
  let scratch: string;

  beforeAll(async () => {
    home = await TestPod.start();
    home.run("ip", "link", "set", "lo", "up");
    scratch = mkdtempSync(join(tmpdir(), "podrt-cni-plugins-"));
    const program = join(scratch, "podrt");
    writeFileSync(program, `#!/bin/sh\nexec nsenter --net=/proc/${home.pid}/ns/net ${binary} "$@"\n`);
    chmodSync(program, 0o755);
    const network = `cni_plugin_dirs = ["${pluginDir}"]`;
    daemon = await startDaemon({ network, program: { path: program, environment: {} } });
  });

  afterAll(async () => {
    await daemon?.close();
    await home?.end();
    if (scratch !== undefined) rmSync(scratch, { recursive: true });
  });

  /** The leases of host-local, by the file that is each one's. */
  const leases = (network: string) =>
    readdirSync(join(scratch, network)).filter((name) => /^[0-9a-f]+[.:]/.test(name));

  const ranges = (...subnets: readonly string[]) => subnets.map((subnet) => [{ subnet }]);

  const hostLocal = (...subnets: readonly string[]) => ({
    type: "host-local",
    dataDir: scratch,
    ranges: ranges(...subnets),
    routes: subnets.map((subnet) => ({ dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0" })),
  });

  function configure(name: string, ...plugins: readonly object[]): void {
    configureNetwork(daemon, "10-test.conflist", { cniVersion, name, plugins });
  }

  async function ready(): Promise<void> {
    await eventually("the network is ready", async () => {
      const { status } = await daemon.api.status({});
      return status!.conditions.every((condition) => condition.status);
    });
  }

  function links(where: TestPod | number): Link[] {
    const enter = ["nsenter", "-t", `${typeof where === "number" ? where : where.pid}`, "-n"];
    return JSON.parse(run(...enter, "ip", "-d", "-j", "addr")) as Link[];
  }

  /** A program in the pod's network that answers every request with `answer`. */
  function serve(pid: number, answer: string): Disposable {
    const program = `Bun.serve({ hostname: "::", port: 80, fetch: () => new Response("${answer}") })`;
    const child = Bun.spawn(["nsenter", "-t", `${pid}`, "-n", process.execPath, "-e", program]);
    return { [Symbol.dispose]: () => child.kill("SIGKILL") };
  }

  async function remove(podSandboxId: string): Promise<void> {
    await daemon.api.stopPodSandbox({ podSandboxId });
    await daemon.api.removePodSandbox({ podSandboxId });
  }

  test("bridge, portmap, bandwidth and firewall: two families, a host port, a rate, and nothing of it afterwards", async () => {
    const capability = (type: string, name: string) => ({ type, capabilities: { [name]: true } });
    const ipam = hostLocal("10.91.0.0/24", "fd00:91::/64");
    configure(
      "bridged",
      { type: "bridge", bridge: "test0", isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { ...capability("portmap", "portMappings"), snat: true },
      capability("bandwidth", "bandwidth"),
      { type: "firewall", backend: "iptables" },
    );
    await ready();
    const rules = () =>
      ["iptables-save", "ip6tables-save"].flatMap((program) =>
        home
          .run(program)
          .split("\n")
          .filter((line) => line.startsWith("-A")),
      );
    const id = await runSandbox(daemon, "bridged", {
      portMappings: [
        { containerPort: 80, hostPort: HOST_PORT },
        { containerPort: 80, hostPort: HOST_PORT + 1, hostIp: "::" },
        { containerPort: 80, hostPort: HOST_PORT + 2, hostIp: "0.0.0.0" },
      ],
      annotations: { "kubernetes.io/ingress-bandwidth": "8M" },
    } as SandboxConfig);
    const { network } = await sandboxStatus(daemon, id);
    const [ip, other] = [network!.ip, network!.additionalIps.map((address) => address.ip)];
    expect([ip, ...other]).toEqual(["10.91.0.2", "fd00:91::2"]);
    const pid = await pausePid(daemon, id);
    const inside = links(pid);
    expect(inside.map(({ ifname }) => ifname)).toEqual(["lo", "eth0"]);
    expect(inside[0]!.operstate).not.toBe("DOWN");
    const local = inside[1]!.addr_info
      .filter(({ scope }) => scope === "global")
      .map((address) => address.local);
    expect(local.sort()).toEqual([ip, ...other].sort());
    expect(leases("bridged").sort()).toEqual(["10.91.0.2", "fd00:91::2"]);
    using _server = serve(pid, "bridged");
    for (const url of [
      `http://${ip}/`,
      `http://[${other[0]}]/`,
      `http://127.0.0.1:${HOST_PORT}/`,
      `http://10.91.0.1:${HOST_PORT}/`,
      `http://[fd00:91::1]:${HOST_PORT}/`,
      `http://[fd00:91::1]:${HOST_PORT + 1}/`,
      `http://10.91.0.1:${HOST_PORT + 2}/`,
    ]) {
      await eventually(`${url} answers`, async () => (await home.get(url)) === "bridged");
    }
    for (const other of [`10.91.0.1:${HOST_PORT + 1}`, `[fd00:91::1]:${HOST_PORT + 2}`]) {
      expect(await home.get(`http://${other}/`)).toBeUndefined();
    }
    expect(home.run("tc", "qdisc")).toContain("tbf");
    expect(rules().some((line) => line.includes(`--dport ${HOST_PORT}`))).toBe(true);
    expect(rules().some((line) => line.includes("CNI-FORWARD") && line.includes(ip))).toBe(true);
    await remove(id);
    expect(leases("bridged")).toEqual([]);
    expect(links(home).filter(({ linkinfo }) => linkinfo?.info_kind === "veth")).toEqual([]);
    const traces = [ip, ...other, `${HOST_PORT}`];
    expect(rules().filter((line) => traces.some((trace) => line.includes(trace)))).toEqual([]);
  });

  test("a restarted daemon finds the pod as it was, or says that it is not", async () => {
    const ipam = hostLocal("10.92.0.0/24");
    configure("kept", { type: "bridge", bridge: "test1", isGateway: true, ipam });
    await ready();
    const id = await runSandbox(daemon, "kept");
    await daemon.kill();
    await daemon.start();
    await ready();
    expect((await sandboxStatus(daemon, id)).network!.ip).toBe("10.92.0.2");
    // Somebody takes the pod's interface away.
    run("nsenter", "-t", `${await pausePid(daemon, id)}`, "-n", "ip", "link", "delete", "eth0");
    await daemon.kill();
    await daemon.start();
    await eventually("the check finds it", () => daemon.log().includes("is not as it was made"));
    expect(daemon.log().split("is not as it was made")).toHaveLength(2);
    await remove(id);
    expect(leases("kept")).toEqual([]);
  });

  test("a range of IPv6 first, or alone: that address is the pod's first", async () => {
    for (const [name, subnets, expected] of [
      ["reversed", ["fd00:95::/64", "10.95.0.0/24"], ["fd00:95::2", "10.95.0.2"]],
      ["six", ["fd00:96::/64"], ["fd00:96::2"]],
    ] as const) {
      const ipam = hostLocal(...subnets);
      configure(name, { type: "bridge", bridge: `test-${name}`, isGateway: true, ipam });
      await ready();
      const id = await runSandbox(daemon, name);
      const { network } = await sandboxStatus(daemon, id);
      expect([network!.ip, ...network!.additionalIps.map((address) => address.ip)]).toEqual([...expected]);
      await remove(id);
      expect(leases(name)).toEqual([]);
    }
  });

  test("ptp, and loopback after it", async () => {
    configure("pointed", { type: "ptp", ipam: hostLocal("10.93.0.0/24") }, { type: "loopback" });
    await ready();
    const id = await runSandbox(daemon, "pointed");
    const { network } = await sandboxStatus(daemon, id);
    const pid = await pausePid(daemon, id);
    expect(links(pid).map(({ ifname }) => ifname)).toEqual(["lo", "eth0"]);
    using _server = serve(pid, "pointed");
    const url = `http://${network!.ip}/`;
    await eventually(`${url} answers`, async () => (await home.get(url)) === "pointed");
    await remove(id);
    expect(leases("pointed")).toEqual([]);
  });

  test("macvlan: two pods on one link of the machine reach each other", async () => {
    home.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1");
    for (const name of ["wire0", "wire1"]) home.run("ip", "link", "set", name, "up");
    configure("laned", { type: "macvlan", master: "wire0", mode: "bridge", ipam: hostLocal("10.94.0.0/24") });
    await ready();
    const [first, second] = [await runSandbox(daemon, "lane1"), await runSandbox(daemon, "lane2")];
    const pid = await pausePid(daemon, first);
    expect(links(pid).find(({ ifname }) => ifname === "eth0")!.linkinfo?.info_kind).toBe("macvlan");
    using _server = serve(pid, "laned");
    const url = `http://${(await sandboxStatus(daemon, first)).network!.ip}/`;
    const request = `process.stdout.write(await (await fetch("${url}")).text())`;
    const enter = ["nsenter", "-t", `${await pausePid(daemon, second)}`, "-n"];
    await eventually(
      "the other pod answers",
      () => run(...enter, process.execPath, "-e", request) === "laned",
    );
    await remove(first);
    await remove(second);
    home.run("ip", "link", "delete", "wire0");
    expect(leases("laned")).toEqual([]);
  });
});
