// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTestNetwork, remainders, type TestNetwork, TestPod, testConfig } from "./network-harness.ts";

/** A subnet as a cluster gives them to its nodes; not one that other tests of this machine use. */
function newSubnet(): { cidr: string; prefix: string } {
  const prefix = `10.${96 + Math.floor(Math.random() * 2)}.${Math.floor(Math.random() * 250)}`;
  return { cidr: `${prefix}.0/24`, prefix };
}

async function attach(net: TestNetwork, pod: TestPod) {
  return net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] });
}

test("without a subnet of its own a network takes the cluster's while there are no pods, and keeps it", async () => {
  const [first, second] = [newSubnet(), newSubnet()];
  const config = testConfig({ followsPodCidr: true });
  const directory = mkdtempSync(join(tmpdir(), "podrt-network-"));
  const pod = await TestPod.start();
  try {
    const net = openTestNetwork(config, directory);
    await net.network.usePodCidrs(["fd00:10::/64", first.cidr]);
    await net.network.usePodCidrs(["fd00:10::/64", first.cidr]);
    expect(net.network.gatewayAddress()).toBe(`${first.prefix}.1`);
    const attachment = await attach(net, pod);
    expect(attachment.addresses[0]).toStartWith(`${first.prefix}.`);
    expect(pod.run("ip", "-4", "-o", "addr", "show", "eth0")).toContain(`${attachment.addresses[0]}/24`);
    await net.network.usePodCidrs([second.cidr]);
    expect(net.network.gatewayAddress()).toBe(`${first.prefix}.1`);
    expect(net.warnings).toEqual(["the cluster's subnet for this node is not taken"]);
    net.close();

    await using again = openTestNetwork(config, directory);
    await again.network.reconcile(new Set([pod.id]));
    expect(again.network.gatewayAddress()).toBe(`${first.prefix}.1`);
    await pod.end();
    await again.network.detach(pod.id);
    await again.network.usePodCidrs([second.cidr]);
    await using later = await TestPod.start();
    expect((await attach(again, later)).addresses[0]).toStartWith(`${second.prefix}.`);
    await later.end();
    await again.network.detach(later.id);
    expect(again.warnings).toEqual([]);
    expect(remainders(config)).toEqual([]);
  } finally {
    await pod.end();
    rmSync(directory, { recursive: true });
  }
});

for (const [what, cidrs, followsPodCidr] of [
  ["a configured subnet stays", ["10.97.251.0/24"], false],
  ["one of IPv6 alone is not taken", ["fd00:10::/64"], true],
  ["one that is too small is not taken", ["10.97.251.0/31"], true],
  ["one that no pod can have is not taken", ["127.0.0.0/16"], true],
] as const) {
  test(what, async () => {
    await using net = openTestNetwork(testConfig({ followsPodCidr }));
    const gateway = net.network.gatewayAddress();
    await net.network.usePodCidrs(cidrs);
    expect(net.network.gatewayAddress()).toBe(gateway);
    expect(net.warnings).toHaveLength(1);
    await net.network.usePodCidrs([net.config.subnet]);
    expect(net.warnings).toHaveLength(1);
    expect(net.network.status().ready).toBe(true);
  });
}
