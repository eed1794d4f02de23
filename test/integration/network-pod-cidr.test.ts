// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  bothSubnets,
  openTestNetwork,
  remainders,
  type TestNetwork,
  TestPod,
  testConfig,
} from "./network-harness.ts";

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
    await net.network.usePodCidrs([first.cidr]);
    await net.network.usePodCidrs([first.cidr]);
    expect(net.network.gatewayAddresses()).toEqual([`${first.prefix}.1`]);
    const attachment = await attach(net, pod);
    expect(attachment.addresses[0]).toStartWith(`${first.prefix}.`);
    expect(pod.run("ip", "-4", "-o", "addr", "show", "eth0")).toContain(`${attachment.addresses[0]}/24`);
    await net.network.usePodCidrs([second.cidr]);
    expect(net.network.gatewayAddresses()).toEqual([`${first.prefix}.1`]);
    expect(net.warnings).toEqual(["the cluster's subnets for this node are not taken"]);
    net.close();

    await using again = openTestNetwork(config, directory);
    await again.network.reconcile(new Set([pod.id]));
    expect(again.network.gatewayAddresses()).toEqual([`${first.prefix}.1`]);
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
  ["one of IPv6 that no pod can have is not taken", ["10.97.251.0/24", "fe80::/64"], true],
  ["one that is too small is not taken", ["10.97.251.0/31"], true],
  ["one that no pod can have is not taken", ["127.0.0.0/16"], true],
] as const) {
  test(what, async () => {
    await using net = openTestNetwork(testConfig({ followsPodCidr }));
    const gateways = net.network.gatewayAddresses();
    await net.network.usePodCidrs(cidrs);
    expect(net.network.gatewayAddresses()).toEqual(gateways);
    expect(net.warnings).toHaveLength(1);
    await net.network.usePodCidrs(net.config.subnets);
    expect(net.warnings).toHaveLength(1);
    expect(net.network.status().ready).toBe(true);
  });
}

test("of a cluster with both families both are taken, also beside running pods, in the cluster's order", async () => {
  const { subnets, prefix6 } = bothSubnets();
  const { cidr, prefix } = newSubnet();
  const config = testConfig({ followsPodCidr: true });
  const directory = mkdtempSync(join(tmpdir(), "podrt-network-"));
  const pods = [await TestPod.start(), await TestPod.start(), await TestPod.start()] as const;
  try {
    const net = openTestNetwork(config, directory);
    await net.network.usePodCidrs([cidr]);
    expect((await attach(net, pods[0])).addresses).toEqual([`${prefix}.2`]);
    await net.network.usePodCidrs([cidr, "10.1.0.0/24", subnets[1], "fd00:9::/64"]);
    expect((await attach(net, pods[1])).addresses).toEqual([`${prefix}.3`, `${prefix6}2`]);
    await net.network.usePodCidrs([subnets[1], cidr]);
    expect(net.warnings).toEqual(["the cluster's subnets for this node are not taken"]);
    net.close();

    await using again = openTestNetwork(config, directory);
    expect(again.network.gatewayAddresses()).toEqual([`${prefix}.1`, `${prefix6}1`]);
    await again.network.reconcile(new Set(pods.map(({ id }) => id)));
    for (const pod of pods.slice(0, 2)) {
      await pod.end();
      await again.network.detach(pod.id);
    }
    await again.network.usePodCidrs([subnets[1], cidr]);
    expect((await attach(again, pods[2])).addresses).toEqual([`${prefix6}3`, `${prefix}.4`]);
    await pods[2].end();
    await again.network.detach(pods[2].id);
    await using later = openTestNetwork(config, directory);
    expect(later.network.gatewayAddresses()).toEqual([`${prefix6}1`, `${prefix}.1`]);
    await later.network.usePodCidrs([subnets[1]]);
    expect(later.network.gatewayAddresses()).toEqual([`${prefix6}1`]);
    expect(remainders(config)).toEqual([]);
  } finally {
    for (const pod of pods) await pod.end();
    rmSync(directory, { recursive: true });
  }
});
