// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { bringLoopbackUp, type HostPort } from "../../src/network/attachment.ts";
import type { BridgeAttachment } from "../../src/network/bridge.ts";
import {
  bothSubnets,
  hasOtherInstances,
  hasTable,
  ipForward,
  ipv6Forward,
  openTestNetwork,
  remainders,
  run,
  serve,
  type TestNetwork,
  TestPod,
  tcp,
  testConfig,
} from "./network-harness.ts";

/** Answers both families; see `serve`. */
const serveBoth = (name: string, port: number, namespaceFd?: number) => serve(name, port, namespaceFd, "::");

/** What is answered; `refused` where nobody listens, or what else went wrong. */
async function get(host: string, port: number): Promise<string> {
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/`;
  try {
    return await (await fetch(url, { signal: AbortSignal.timeout(20_000), keepalive: false })).text();
  } catch (error) {
    const { code = String(error) } = error as { code?: string };
    return /refused/i.test(code) ? REFUSED : code;
  }
}

const REFUSED = "refused";

const attachTo = (net: TestNetwork, pod: TestPod, hostPorts: readonly HostPort[] = []) =>
  net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts });

interface Address {
  readonly local: string;
  readonly prefixlen: number;
  readonly tentative?: boolean;
}

function addressesOf(pod: TestPod): Address[] {
  const [link] = JSON.parse(pod.run("ip", "-j", "addr", "show", "eth0")) as [{ addr_info: Address[] }];
  return link.addr_info;
}

describe("two pods with addresses of both families", () => {
  const port = 40_000 + (process.pid % 1000) * 3;
  const { subnets, prefix6 } = bothSubnets();
  const gateway6 = `${prefix6}1`;
  const pods: TestPod[] = [];
  const attachments: BridgeAttachment[] = [];
  const servers: Bun.Server<undefined>[] = [];
  let host: Bun.Server<undefined>;
  let net: TestNetwork;
  let gateway4: string;

  beforeAll(async () => {
    net = openTestNetwork(testConfig({ subnets }));
    [gateway4] = net.network.gatewayAddresses() as [string];
    const ports = [
      [tcp(port)],
      [tcp(port + 1, "::"), tcp(port + 2, "0.0.0.0"), { ...tcp(port, gateway6), protocol: "udp" } as const],
    ];
    for (const hostPorts of ports) {
      const pod = await TestPod.start();
      pods.push(pod);
      await bringLoopbackUp(pod.namespace.number);
      attachments.push(await attachTo(net, pod, hostPorts));
      servers.push(serveBoth(`pod${servers.length}`, 80, pod.namespace.number));
    }
    host = serveBoth("host", 0);
  });

  afterAll(async () => {
    for (const server of [...servers, host]) await server.stop(true);
    for (const pod of pods) await pod.end();
    await net[Symbol.asyncDispose]();
    expect(remainders(net.config)).toEqual([]);
  });

  test("have an address of each, the primary first, which can be used at once", () => {
    expect(net.network.gatewayAddresses()).toEqual([gateway4, gateway6]);
    for (const [index, pod] of pods.entries()) {
      const { addresses } = attachments[index]!;
      expect(addresses).toEqual([expect.stringContaining("10.99."), `${prefix6}${index + 2}`]);
      expect(addressesOf(pod).filter(({ local }) => addresses.includes(local))).toEqual([
        expect.objectContaining({ local: addresses[0], prefixlen: 24 }),
        expect.objectContaining({ local: addresses[1], prefixlen: 64 }),
      ]);
      expect(addressesOf(pod).some(({ tentative }) => tentative === true)).toBe(false);
      expect(pod.run("ip", "-6", "route", "show", "default")).toStartWith(`default via ${gateway6} dev eth0`);
    }
  });

  test("reach each other, themselves and the machine by IPv6", async () => {
    for (const [index, pod] of pods.entries()) {
      const own = attachments[index]!.addresses[1];
      for (const [other, { addresses }] of attachments.entries()) {
        expect(await pod.get(`http://[${addresses[1]}]/`)).toBe(`pod${other} asked by ${own}`);
      }
      expect(await pod.get("http://[::1]/")).toBe(`pod${index} asked by ::1`);
      expect(await pod.get(`http://[${gateway6}]:${host.port}/`)).toBe(`host asked by ${own}`);
    }
    expect(await get(attachments[1]!.addresses[1]!, 80)).toBe(`pod1 asked by ${gateway6}`);
  });

  test("neither they nor the machine believe what one of them says about routers", () => {
    const option = "/proc/sys/net/ipv6/conf/eth0/accept_ra";
    for (const pod of pods) expect(pod.run("cat", option).trim()).toBe("0");
    expect(run("cat", option.replace("eth0", net.config.bridge)).trim()).toBe("0");
  });

  test("a host port without an address is on every address of the machine, of either family", async () => {
    const addresses = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .map(({ address }) => address)
      .filter((address) => address !== "::1" && !address.startsWith("fe80:"));
    expect(addresses).toContain(gateway6);
    for (const address of addresses) expect(await get(address, port)).toStartWith("pod0 asked by");
    for (const pod of pods) {
      expect(await pod.get(`http://[${gateway6}]:${port}/`)).toBe(`pod0 asked by ${gateway6}`);
    }
  });

  test("an unspecified address is for its family alone", async () => {
    expect(await get(gateway6, port + 1)).toBe(`pod1 asked by ${gateway6}`);
    expect(await get(gateway4, port + 1)).toBe(REFUSED);
    expect(await get(gateway4, port + 2)).toStartWith("pod1 asked by");
    expect(await get(gateway6, port + 2)).toBe(REFUSED);
    const table = run("nft", "list", "table", "ip6", net.config.table);
    expect(table).toContain(`${gateway6} . udp . ${port} : ${attachments[1]!.addresses[1]} . 80`);
  });

  test("on ::1, where the kernel leads nothing to pods, who asks is refused at once", async () => {
    expect(await get("::1", port)).toBe(REFUSED);
    expect(await get("127.0.0.1", port)).toStartWith("pod0 asked by");
    await using pod = await TestPod.start();
    await expect(attachTo(net, pod, [tcp(port + 2, "::1")])).rejects.toThrow(
      "config.port_mappings[0].host_ip: host ports on ::1 are not supported",
    );
  });

  test("a pod cannot reach the machine's loopback services through the bridge", async () => {
    await using pod = await TestPod.start();
    await attachTo(net, pod);
    // With its own loopback down, the pod sends ::1 to the gateway.
    pod.run("ip", "-6", "route", "add", "::1", "via", gateway6, "dev", "eth0");
    expect(await pod.get(`http://[::1]:${host.port}/`)).toBeUndefined();
    expect(await pod.get(`http://[${gateway6}]:${host.port}/`)).toStartWith("host asked by");
    await pod.end();
    await net.network.detach(pod.id);
  });

  test("a host port that has an address of IPv6 is refused by its owner's name", async () => {
    await using pod = await TestPod.start();
    await expect(attachTo(net, pod, [tcp(port, gateway6)])).rejects.toThrow(
      `host port [${gateway6}]:${port}/tcp is taken by sandbox ${pods[0]!.id}`,
    );
    expect(net.leases.get(pod.id)).toBeUndefined();
  });

  test("what leaves has the machine's address, and what comes in finds the pod", async () => {
    await using outside = await TestPod.start();
    const name = `prtsix${process.pid % 100_000}`;
    const network = prefix6.replace("fd99:", "fd98:");
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", `${outside.pid}`);
    run("ip", "addr", "add", `${network}1/64`, "dev", name, "nodad");
    run("ip", "link", "set", name, "up");
    outside.run("ip", "addr", "add", `${network}2/64`, "dev", "eth0", "nodad");
    outside.run("ip", "link", "set", "eth0", "up");
    outside.run("ip", "route", "add", subnets[1], "via", `${network}1`);
    const web = serveBoth("outside", 80, outside.namespace.number);
    await using fresh = await TestPod.start();
    const { addresses } = await attachTo(net, fresh);
    const server = serveBoth("fresh", 80, fresh.namespace.number);
    // Nobody on the bridge has heard of this pod yet: the machine has to ask for it on the sender's behalf.
    expect(await outside.get(`http://[${addresses[1]}]/`)).toBe(`fresh asked by ${network}2`);
    expect(await fresh.get(`http://[${network}2]/`)).toBe(`outside asked by ${network}1`);
    await web.stop(true);
    await server.stop(true);
    await fresh.end();
    await net.network.detach(fresh.id);
  });

  test("a pod that has turned IPv6 off for itself has the other address alone, and no host port there", async () => {
    await using pod = await TestPod.start();
    pod.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    await expect(attachTo(net, pod, [tcp(port + 2, "::")])).rejects.toThrow("pods have none here");
    const { addresses } = await attachTo(net, pod);
    expect(addresses).toEqual([expect.stringContaining("10.99.")]);
    await pod.end();
    await net.network.detach(pod.id);
  });
});

describe("coming and going", () => {
  test("with the last pod go the tables and the forwarding of both families", async () => {
    const rules = run("nft", "list", "ruleset");
    const before = [ipForward(), ipv6Forward()];
    await using net = openTestNetwork(testConfig(bothSubnets()));
    const isAlone = !hasOtherInstances(net.config.table);
    await using pod = await TestPod.start();
    const { hostInterface } = await attachTo(net, pod, [tcp(43_000 + (process.pid % 1000))]);
    expect([ipForward(), ipv6Forward()]).toEqual(["1", "1"]);
    expect(remainders(net.config)).toEqual([
      net.config.bridge,
      `table ${net.config.table}`,
      `table ip6 ${net.config.table}`,
    ]);
    const comment = `podrt: forwarding was ${before[1]}`;
    if (isAlone) expect(run("nft", "list", "table", "ip6", net.config.table)).toContain(comment);
    await pod.end();
    await net.network.detach(pod.id);
    expect(remainders(net.config, [hostInterface])).toEqual([]);
    expect(await net.network.owned()).toEqual({ links: [], leases: [] });
    if (!isAlone || hasOtherInstances(net.config.table)) return;
    expect([ipForward(), ipv6Forward()]).toEqual(before);
    expect(run("nft", "list", "ruleset")).toBe(rules);
  });

  test("of two instances the last to go puts forwarding of IPv6 back", async () => {
    const before = ipv6Forward();
    await using one = openTestNetwork(testConfig(bothSubnets()));
    await using two = openTestNetwork(testConfig(bothSubnets()));
    const tables = [one.config.table, two.config.table];
    await using pod = await TestPod.start();
    await using other = await TestPod.start();
    await attachTo(one, pod);
    await attachTo(two, other);
    await pod.end();
    await one.network.detach(pod.id);
    expect(ipv6Forward()).toBe("1");
    await other.end();
    await two.network.detach(other.id);
    if (!hasOtherInstances(...tables)) expect(ipv6Forward()).toBe(before);
    expect(tables.map((table) => hasTable(table, "ip6"))).toEqual([false, false]);
  });

  test("a network of IPv6 alone has nothing of IPv4, and says so of host ports there", async () => {
    const { subnets, prefix6 } = bothSubnets();
    const port = 44_000 + (process.pid % 1000);
    await using net = openTestNetwork(testConfig({ subnets: [subnets[1]] }));
    await using pod = await TestPod.start();
    await expect(attachTo(net, pod, [tcp(port, "127.0.0.1")])).rejects.toThrow(
      "config.port_mappings[0].host_ip: 127.0.0.1 is an IPv4 address, and pods have none here",
    );
    const { addresses } = await attachTo(net, pod, [tcp(port)]);
    expect(addresses).toEqual([`${prefix6}2`]);
    expect(remainders(net.config)).toEqual([net.config.bridge, `table ip6 ${net.config.table}`]);
    expect(pod.run("ip", "-4", "addr", "show", "eth0")).toBe("");
    const web = serveBoth("six", 80, pod.namespace.number);
    expect(await get(`${prefix6}1`, port)).toBe(`six asked by ${prefix6}1`);
    expect(await get("127.0.0.1", port)).toBe(REFUSED);
    await web.stop(true);
    await using without = await TestPod.start();
    without.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    await expect(attachTo(net, without)).rejects.toThrow(
      `sandbox ${without.id} has IPv6 disabled by its kernel parameters`,
    );
    await pod.end();
  });

  test("a daemon with one family more gives new pods both, with one less takes its things away", async () => {
    const { subnets } = bothSubnets();
    const config = testConfig({ subnets: [subnets[0]] });
    await using first = openTestNetwork(config);
    await using pods = new AsyncDisposableStack();
    const [one, two, three] = [await TestPod.start(), await TestPod.start(), await TestPod.start()];
    for (const pod of [one, two, three]) pods.use(pod);
    expect((await attachTo(first, one)).addresses).toHaveLength(1);
    const both = openTestNetwork({ ...config, subnets }, first.directory);
    await both.network.reconcile(new Set([one.id]));
    const { addresses } = await attachTo(both, two);
    expect(addresses).toHaveLength(2);
    const web = serveBoth("two", 80, two.namespace.number);
    expect(await get(addresses[1]!, 80)).toStartWith("two asked by");
    await web.stop(true);
    both.close();
    const again = openTestNetwork(config, first.directory);
    await again.network.reconcile(new Set([one.id, two.id]));
    expect(hasTable(config.table, "ip6")).toBe(false);
    expect((await attachTo(again, three)).addresses).toHaveLength(1);
    for (const pod of [one, two, three]) {
      await pod.end();
      await again.network.detach(pod.id);
    }
    expect(remainders(config)).toEqual([]);
    again.close();
  });

  test("a subnet of IPv6 that is in use is refused by its key", async () => {
    const config = testConfig(bothSubnets());
    await using net = openTestNetwork(config);
    await using pod = await TestPod.start();
    const name = `prtbusy${process.pid % 10_000}`;
    const taken = config.subnets[1]!.replace("/64", "/48");
    run("ip", "link", "add", name, "type", "bridge");
    try {
      run("ip", "link", "set", name, "up");
      run("ip", "-6", "route", "add", taken, "dev", name);
      const reason = `network.subnet ${config.subnets[1]} of ${config.bridge} overlaps the route ${taken} of interface ${name}`;
      await expect(attachTo(net, pod)).rejects.toThrow(reason);
      expect(await net.network.owned()).toEqual({ links: [], leases: [] });
    } finally {
      run("ip", "link", "del", name);
    }
  });
});
