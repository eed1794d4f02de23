// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { patience } from "../support/patience.ts";
import { openTestNetwork, remainders, TestPod, tcp, testConfig } from "./network-harness.ts";

test(
  "release frees host ports, and does not wait for the link; the address is nobody's until that is gone",
  async () => {
    // One address is the bridge's, and one is left for pods.
    const subnet = `${testConfig().subnets[0]?.replace(/0\/24$/, "")}4/30`;
    await using net = openTestNetwork(testConfig({ subnets: [subnet] }));
    const port = 33_000 + (process.pid % 1000);
    await using first = await TestPod.start();
    await using second = await TestPod.start();
    const request = (pod: TestPod) => ({
      sandboxId: pod.id,
      netnsFd: pod.namespace.number,
      hostPorts: [tcp(port)],
    });
    const former = await net.network.attach(request(first));
    // Its namespace lives on, and with it the link.
    await net.network.release(first.id);
    await net.network.release(first.id);
    expect(net.leases.get(first.id)).toMatchObject({ isReleasing: true, hostPorts: [] });
    expect(remainders(net.config, [former.hostInterface])).toContain(former.hostInterface);
    let isAttached = false;
    const attaching = net.network.attach(request(second)).then((attachment) => {
      isAttached = true;
      return attachment;
    });
    await Bun.sleep(50);
    expect(isAttached).toBe(false);
    await first.end();
    expect((await attaching).addresses).toEqual(former.addresses);
    expect(net.leases.list().map(({ sandboxId }) => sandboxId)).toEqual([second.id]);
    await second.end();
    await net.network.release(second.id);
    await net.network.settled();
    expect(await net.network.owned()).toEqual({ links: [], leases: [] });
    await net.network.release("no such sandbox");
  },
  60_000 * patience,
);
