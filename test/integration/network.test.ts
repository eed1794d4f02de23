// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { ResourceExhaustedError } from "../../src/errors.ts";
import { bringLoopbackUp } from "../../src/network/attachment.ts";
import type { BridgeAttachment } from "../../src/network/bridge.ts";
import { patience } from "../support/patience.ts";
import {
  hasOtherInstances,
  hasTable,
  ipForward,
  openTestNetwork,
  remainders,
  run,
  serve,
  type TestNetwork,
  TestPod,
  tcp,
  testConfig,
} from "./network-harness.ts";

async function get(url: string): Promise<string | undefined> {
  try {
    return await (await fetch(url, { signal: AbortSignal.timeout(2000), keepalive: false })).text();
  } catch {
    return undefined;
  }
}

describe("three pods on one bridge", () => {
  const ports = [30_000, 30_001, 30_002].map((port) => port + (process.pid % 1000) * 3);
  const [firstPort, localPort] = ports as [number, number];
  const mappings = [[tcp(firstPort)], [tcp(localPort, "127.0.0.1")], []];
  const pods: TestPod[] = [];
  const attachments: BridgeAttachment[] = [];
  const servers: Bun.Server<undefined>[] = [];
  let host: Bun.Server<undefined>;
  let net: TestNetwork;
  let gateway: string;

  beforeAll(async () => {
    net = openTestNetwork();
    gateway = net.network.gatewayAddresses()[0]!;
    for (const hostPorts of mappings) {
      const pod = await TestPod.start();
      pods.push(pod);
      await bringLoopbackUp(pod.namespace.number);
      attachments.push(
        await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts }),
      );
      servers.push(serve(`pod${servers.length}`, 80, pod.namespace.number));
    }
    host = serve("host", 0);
  });

  afterAll(async () => {
    for (const server of [...servers, host]) await server.stop(true);
    for (const pod of pods) await pod.end();
    await net[Symbol.asyncDispose]();
    expect(remainders(net.config)).toEqual([]);
  });

  test("the interface, address and route are what attach said", () => {
    const [pod, attachment] = [pods[1] as TestPod, attachments[1] as BridgeAttachment];
    const [link] = JSON.parse(pod.run("ip", "-j", "addr", "show", "eth0")) as [
      { mtu: number; address: string; operstate: string; addr_info: { local: string; prefixlen: number }[] },
    ];
    expect(link).toMatchObject({ mtu: 1400, address: attachment.mac, operstate: "UP" });
    expect(link.addr_info[0]).toMatchObject({ local: attachment.addresses[0], prefixlen: 24 });
    expect(pod.run("ip", "route", "show", "default").trim()).toBe(`default via ${gateway} dev eth0`);
    expect(attachment.interfaceName).toBe("eth0");
    expect(run("ip", "-j", "link", "show", "master", net.config.bridge)).toContain(attachment.hostInterface);
    expect(attachment.hostInterface.length).toBeLessThanOrEqual(15);
  });

  test("addresses are distinct and written down", async () => {
    const addresses = attachments.map(({ addresses }) => addresses[0]);
    expect(new Set(addresses).size).toBe(3);
    expect(net.leases.list().map((lease) => lease.addresses[0])).toEqual(addresses);
    expect(await net.network.owned()).toEqual({
      links: expect.arrayContaining([net.config.bridge, ...attachments.map((one) => one.hostInterface)]),
      leases: pods.map(({ id }) => id),
    });
  });

  test("pods reach each other, themselves, loopback and the bridge's address, by their own address", async () => {
    for (const [index, pod] of pods.entries()) {
      const own = attachments[index]?.addresses[0] as string;
      for (const [other, { addresses }] of attachments.entries()) {
        expect(await pod.get(`http://${addresses[0]}/`)).toBe(`pod${other} asked by ${own}`);
      }
      expect(await pod.get("http://127.0.0.1/")).toBe(`pod${index} asked by 127.0.0.1`);
      expect(await pod.get(`http://${gateway}:${host.port}/`)).toBe(`host asked by ${own}`);
    }
  });

  test("what a pod says about routers of IPv6 is not believed where there is only IPv4", () => {
    const option = (link: string) => `/proc/sys/net/ipv6/conf/${link}/accept_ra`;
    for (const pod of pods) expect(pod.run("cat", option("eth0")).trim()).toBe("0");
    expect(run("cat", option(net.config.bridge)).trim()).toBe("0");
  });

  test("the machine reaches a pod at its address", async () => {
    expect(await get(`http://${attachments[2]?.addresses[0]}/`)).toBe(`pod2 asked by ${gateway}`);
  });

  test("a host port leads to the pod from each of the machine's addresses", async () => {
    const addresses = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ family }) => family === "IPv4");
    expect(addresses.length).toBeGreaterThan(1);
    for (const { address } of addresses) {
      expect(await get(`http://${address}:${firstPort}/`)).toStartWith("pod0 asked by");
    }
  });

  test("a host port leads to the pod from another pod and from itself", async () => {
    for (const pod of pods) {
      expect(await pod.get(`http://${gateway}:${firstPort}/`)).toBe(`pod0 asked by ${gateway}`);
    }
  });

  test("a host port on one address is on no other", async () => {
    expect(await get(`http://127.0.0.1:${localPort}/`)).toBe(`pod1 asked by ${gateway}`);
    expect(await get(`http://${gateway}:${localPort}/`)).toBeUndefined();
    expect(await pods[0]?.get(`http://${gateway}:${localPort}/`)).toBeUndefined();
  });

  test("a pod cannot reach the machine's loopback services through the bridge", async () => {
    await using pod = await TestPod.start();
    await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] });
    // With its own loopback down, the pod sends 127.0.0.1 to the gateway.
    pod.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet");
    pod.run("ip", "route", "add", "127.0.0.1", "via", gateway);
    expect(await pod.get(`http://127.0.0.1:${host.port}/`)).toBeUndefined();
    expect(await pod.get(`http://${gateway}:${host.port}/`)).toStartWith("host asked by");
    await pod.end();
    await net.network.detach(pod.id);
  });

  test("a host port that is taken is refused by the owner's name, and nothing stays of the attempt", async () => {
    await using pod = await TestPod.start();
    const request = { sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [tcp(firstPort)] };
    await expect(net.network.attach(request)).rejects.toThrow(
      `host port ${firstPort}/tcp is taken by sandbox ${pods[0]?.id}`,
    );
    expect(pod.run("ip", "-br", "link")).not.toContain("eth0");
    expect(net.leases.get(pod.id)).toBeUndefined();
  });

  test("a sandbox is attached once", async () => {
    const pod = pods[0] as TestPod;
    const request = { sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] };
    await expect(net.network.attach(request)).rejects.toThrow("is attached to the network already");
  });

  test("a namespace that has an eth0 is refused with the reason, and nothing stays of the attempt", async () => {
    await using pod = await TestPod.start();
    pod.run("ip", "link", "add", "eth0", "type", "bridge");
    const before = await net.network.owned();
    const request = { sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] };
    await expect(net.network.attach(request)).rejects.toThrow(
      /cannot attach sandbox \w+ to the network: create veth \w+ with eth0 in the pod: EEXIST/,
    );
    expect(await net.network.owned()).toEqual(before);
  });

  test("a table that somebody flushed is made anew with the next pod", async () => {
    run("nft", "delete", "table", "ip", net.config.table);
    expect(await get(`http://127.0.0.1:${firstPort}/`)).toBeUndefined();
    await using pod = await TestPod.start();
    await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] });
    expect(await get(`http://127.0.0.1:${firstPort}/`)).toBe(`pod0 asked by ${gateway}`);
    await pod.end();
    await net.network.detach(pod.id);
  });
});

describe("leaving", () => {
  test("detach frees all of it, and with the last pod go bridge, table and forwarding", async () => {
    const forwardBefore = ipForward();
    await using net = openTestNetwork();
    const shared = !hasOtherInstances(net.config.table);
    const rulesBefore = run("nft", "list", "ruleset");
    await using first = await TestPod.start();
    await using second = await TestPod.start();
    const port = 31_000 + (process.pid % 1000);
    const one = await net.network.attach({
      sandboxId: first.id,
      netnsFd: first.namespace.number,
      hostPorts: [tcp(port)],
    });
    const other = await net.network.attach({
      sandboxId: second.id,
      netnsFd: second.namespace.number,
      hostPorts: [],
    });
    expect(ipForward()).toBe("1");
    await first.end();
    await net.network.detach(first.id);
    expect(remainders(net.config, [one.hostInterface, other.hostInterface])).toEqual([
      net.config.bridge,
      other.hostInterface,
      `table ${net.config.table}`,
    ]);
    expect(run("nft", "list", "table", "ip", net.config.table)).not.toContain(`${port}`);
    await second.end();
    await net.network.detach(second.id);
    expect(remainders(net.config, [one.hostInterface, other.hostInterface])).toEqual([]);
    expect(await net.network.owned()).toEqual({ links: [], leases: [] });
    if (shared && !hasOtherInstances(net.config.table)) {
      expect(ipForward()).toBe(forwardBefore);
      expect(run("nft", "list", "ruleset")).toBe(rulesBefore);
    }
    await net.network.detach(second.id);
    await net.network.detach("no such sandbox");
  });

  test("a freed host port can be taken at once, a freed address rests", async () => {
    await using net = openTestNetwork();
    const port = 32_000 + (process.pid % 1000);
    await using first = await TestPod.start();
    await using second = await TestPod.start();
    const request = (pod: TestPod) => ({
      sandboxId: pod.id,
      netnsFd: pod.namespace.number,
      hostPorts: [tcp(port)],
    });
    const former = await net.network.attach(request(first));
    await first.end();
    await net.network.detach(first.id);
    const next = await net.network.attach(request(second));
    expect(next.addresses[0]).not.toBe(former.addresses[0]);
    using server = { [Symbol.dispose]: () => void web.stop(true) };
    const web = serve("second", 80, second.namespace.number);
    expect(await get(`http://127.0.0.1:${port}/`)).toStartWith("second asked by");
    expect(server).toBeDefined();
  });

  test(
    "detach works without the table, and removes the link of a namespace that lives on",
    async () => {
      await using net = openTestNetwork();
      await using pod = await TestPod.start();
      const { hostInterface } = await net.network.attach({
        sandboxId: pod.id,
        netnsFd: pod.namespace.number,
        hostPorts: [tcp(33_000 + (process.pid % 1000))],
      });
      run("nft", "delete", "table", "ip", net.config.table);
      await net.network.detach(pod.id);
      expect(net.warnings.join()).toContain("lives on");
      expect(remainders(net.config, [hostInterface])).toEqual([]);
      expect(pod.run("ip", "-br", "link")).not.toContain("eth0");
    },
    15_000 * patience,
  );

  test("the event loop goes on while links are removed", async () => {
    await using net = openTestNetwork();
    const pods = await Promise.all([TestPod.start(), TestPod.start(), TestPod.start(), TestPod.start()]);
    let longestMs = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last);
      last = performance.now();
    }, 1);
    for (const pod of pods) {
      await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] });
    }
    await Promise.all(
      pods.map(async (pod) => {
        await pod.end();
        await net.network.detach(pod.id);
      }),
    );
    clearInterval(timer);
    console.log(`longest pause of the event loop: ${longestMs.toFixed(1)} ms`);
    expect(longestMs).toBeLessThan(100 * patience);
  });
});

describe("the machine's other networks", () => {
  test("what leaves by another interface has the machine's address, unless masquerade is off", async () => {
    const third = 1 + (process.pid % 250);
    for (const masquerade of [true, false]) {
      await using net = openTestNetwork(testConfig({ masquerade }));
      await using outside = await TestPod.start();
      await using pod = await TestPod.start();
      const name = `prtout${masquerade ? 1 : 0}x${process.pid % 100_000}`;
      const netns = `${outside.pid}`;
      run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", netns);
      run("ip", "addr", "add", `10.98.${third}.1/30`, "dev", name);
      run("ip", "link", "set", name, "up");
      outside.run("ip", "addr", "add", `10.98.${third}.2/30`, "dev", "eth0");
      outside.run("ip", "link", "set", "eth0", "up");
      const web = serve("outside", 80, outside.namespace.number);
      await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] });
      expect(await pod.get(`http://10.98.${third}.2/`)).toBe(
        // Without masquerade the other network has no way back to the pod.
        masquerade ? `outside asked by 10.98.${third}.1` : undefined,
      );
      await web.stop(true);
    }
  });

  test("a subnet that is in use is refused by its key, and the status says so until it is free", async () => {
    const config = testConfig();
    await using net = openTestNetwork(config);
    await using pod = await TestPod.start();
    const name = `prtbusy${process.pid % 10_000}`;
    const [subnet] = config.subnets as [string];
    const taken = subnet.replace(".0/24", ".128/25");
    run("ip", "link", "add", name, "type", "bridge");
    try {
      run("ip", "link", "set", name, "up");
      run("ip", "route", "add", taken, "dev", name);
      const request = { sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] };
      const reason = `network.subnet ${subnet} of ${config.bridge} overlaps the route ${taken} of interface ${name}; set network.subnet to one that is free`;
      await expect(net.network.attach(request)).rejects.toThrow(reason);
      expect(net.network.status()).toEqual({
        ready: false,
        reason: "NetworkPluginNotReady",
        message: reason,
      });
      expect(await net.network.owned()).toEqual({ links: [], leases: [] });
    } finally {
      run("ip", "link", "del", name);
    }
    for (let tries = 0; tries < 100 && !net.network.status().ready; tries++) await Bun.sleep(10);
    expect(net.network.status()).toEqual({ ready: true, reason: "", message: "" });
  });

  test("somebody else's bridge of the same name is left alone", async () => {
    const config = testConfig();
    run("ip", "link", "add", config.bridge, "type", "bridge");
    try {
      await using net = openTestNetwork(config);
      await using pod = await TestPod.start();
      const request = { sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] };
      await expect(net.network.attach(request)).rejects.toThrow(
        `network.bridge ${config.bridge} is an interface`,
      );
      await net.network.reconcile(new Set());
      expect(remainders(config)).toEqual([config.bridge]);
    } finally {
      run("ip", "link", "del", config.bridge);
    }
  });

  test("a subnet with no address left says so", async () => {
    await using net = openTestNetwork(testConfig({ subnets: ["10.99.251.0/30"] }));
    await using first = await TestPod.start();
    await using second = await TestPod.start();
    await net.network.attach({ sandboxId: first.id, netnsFd: first.namespace.number, hostPorts: [] });
    const request = { sandboxId: second.id, netnsFd: second.namespace.number, hostPorts: [] };
    const refused = net.network.attach(request);
    await expect(refused).rejects.toThrow(ResourceExhaustedError);
    await expect(refused).rejects.toThrow("no free address in 10.99.251.0/30: all 1 are leased");
    await first.end();
  });

  test("of two instances the last to go puts ip_forward back", async () => {
    const before = ipForward();
    await using one = openTestNetwork();
    await using two = openTestNetwork();
    const tables = [one.config.table, two.config.table];
    const alone = !hasOtherInstances(...tables);
    await using pod = await TestPod.start();
    await using other = await TestPod.start();
    await one.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] });
    await two.network.attach({ sandboxId: other.id, netnsFd: other.namespace.number, hostPorts: [] });
    await pod.end();
    await one.network.detach(pod.id);
    expect(ipForward()).toBe("1");
    await other.end();
    await two.network.detach(other.id);
    if (alone && !hasOtherInstances(...tables)) expect(ipForward()).toBe(before);
    expect(tables.map((table) => hasTable(table))).toEqual([false, false]);
  });
});
