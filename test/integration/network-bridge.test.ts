// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { openTestNetwork, remainders, run, serve, TestPod } from "./network-harness.ts";

test("pods have no address of IPv6 where there is only IPv4; a bridge that somebody removed is made anew", async () => {
  const { config, network, ...rest } = openTestNetwork();
  const [first, second] = [await TestPod.start(), await TestPod.start()];
  const attach = ({ id, namespace }: TestPod) =>
    network.attach({ sandboxId: id, netnsFd: namespace.number, hostPorts: [] });
  await attach(first);
  run("ip", "link", "del", config.bridge);
  const { hostInterface, addresses } = await attach(second);
  expect(run("ip", "-o", "link", "show", "master", config.bridge)).toContain(hostInterface);
  await network.usable(second.id);
  const server = serve("second", 80, second.namespace.number);
  const answer = await fetch(`http://${addresses[0]}/`, {
    signal: AbortSignal.timeout(60_000),
    keepalive: false,
  });
  expect(await answer.text()).toStartWith("second asked by");
  await server.stop(true);
  for (const pod of [first, second]) {
    expect(pod.run("ip", "-6", "-o", "addr", "show", "scope", "link")).toBe("");
    await pod.end();
    await network.detach(pod.id);
  }
  await rest[Symbol.asyncDispose]();
  expect(remainders(config)).toEqual([]);
});
