// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostInterfaceOf } from "../../src/network/bridge.ts";
import { patience } from "../support/patience.ts";
import {
  bothSubnets,
  hasOtherInstances,
  ipForward,
  ipv6Forward,
  openTestNetwork,
  remainders,
  run,
  TestPod,
  testConfig,
} from "./network-harness.ts";

const program = join(import.meta.dir, "network-killed.ts");

/** Runs the program that kills itself; true when it came to its end. */
async function isDone(what: string, ...rest: string[]): Promise<boolean> {
  const child = Bun.spawn([process.execPath, program, what, ...rest], { stdout: "pipe", stderr: "inherit" });
  const text = await new Response(child.stdout).text();
  await child.exited;
  if (child.exitCode !== 0 && child.signalCode !== "SIGKILL") throw new Error(`exit ${child.exitCode}`);
  return text === "done\n";
}

/** A directory for a daemon's state that outlives the daemon. */
function stateDirectory(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), "podrt-network-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test(
  "a daemon killed after any step of attach leaves nothing that the next one does not remove",
  async () => {
    const forwardBefore = [ipForward(), ipv6Forward()];
    let exchanges = 0;
    for (let isComplete = false; !isComplete; exchanges++) {
      using state = stateDirectory();
      await using pod = await TestPod.start();
      const config = testConfig(bothSubnets());
      const name = hostInterfaceOf(pod.id);
      isComplete = await isDone(
        ...["attach", JSON.stringify(config), state.path, pod.id, `${pod.pid}`, `${exchanges}`],
      );
      await using next = openTestNetwork(config, state.path);
      await next.network.reconcile(new Set());
      expect(remainders(config, [name])).toEqual([]);
      expect(await next.network.owned()).toEqual({ links: [], leases: [] });
      const request = { sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts: [] };
      expect((await next.network.attach(request)).hostInterface).toBe(name);
      await pod.end();
      await next.network.detach(pod.id);
      expect(remainders(config, [name])).toEqual([]);
    }
    expect(exchanges).toBeGreaterThan(8);
    if (!hasOtherInstances()) expect([ipForward(), ipv6Forward()]).toEqual(forwardBefore);
  },
  60_000 * patience,
);

test(
  "a daemon killed after any step of detach leaves nothing that the next one does not remove",
  async () => {
    let exchanges = 0;
    for (let isComplete = false; !isComplete; exchanges++) {
      using state = stateDirectory();
      await using pod = await TestPod.start();
      const config = testConfig(bothSubnets());
      const place = [JSON.stringify(config), state.path, pod.id, `${pod.pid}`] as const;
      expect(await isDone("attach", ...place, "1000")).toBe(true);
      // The namespace dies with its process, which the program kills.
      pod.namespace.close();
      isComplete = await isDone("detach", ...place, `${exchanges}`);
      await using next = openTestNetwork(config, state.path);
      await next.network.reconcile(new Set());
      expect(remainders(config, [hostInterfaceOf(pod.id)])).toEqual([]);
      expect(await next.network.owned()).toEqual({ links: [], leases: [] });
    }
    expect(exchanges).toBeGreaterThan(4);
  },
  60_000 * patience,
);

test("on a kernel without IPv6 a network of IPv4 does without it, and one of both says what is missing", async () => {
  // An empty directory where the kernel's settings are: so it looks with ipv6.disable=1.
  const hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs hidden /proc/sys/net/ipv6 && exec "$@"', "sh"];
  for (const hasBoth of [false, true]) {
    using state = stateDirectory();
    await using pod = await TestPod.start();
    const { subnets } = bothSubnets();
    const config = testConfig({ subnets: hasBoth ? subnets : [subnets[0]] });
    const command = [
      process.execPath,
      program,
      "attach",
      JSON.stringify(config),
      state.path,
      pod.id,
      `${pod.pid}`,
    ];
    const child = Bun.spawnSync([...hidden, ...command, "1000"]);
    if (hasBoth) {
      const said = `network.subnet ${subnets[1]} is of IPv6, but this machine's kernel has no IPv6`;
      expect(child.stderr.toString()).toContain(said);
      expect(remainders(config)).toEqual([]);
      continue;
    }
    expect(child.stdout.toString()).toBe("done\n");
    // Nothing was asked of IPv6, which such a kernel refuses.
    expect(run("ip", "-d", "link", "show", config.bridge)).toContain("addrgenmode eui64");
    await using next = openTestNetwork(config, state.path);
    await next.network.reconcile(new Set());
    expect(remainders(config)).toEqual([]);
  }
});

test("a daemon that starts again keeps the live sandbox's address and host ports, and frees the other's", async () => {
  using state = stateDirectory();
  await using live = await TestPod.start();
  await using dead = await TestPod.start();
  const config = testConfig(bothSubnets());
  const port = 35_000 + (process.pid % 1000);
  const request = (pod: TestPod, hostPort: number) => ({
    sandboxId: pod.id,
    netnsFd: pod.namespace.number,
    hostPorts: [{ protocol: "udp", containerPort: 53, hostPort } as const],
  });
  const former = openTestNetwork(config, state.path);
  await former.network.attach(request(live, port));
  await former.network.attach(request(dead, port + 1));
  former.close();
  await using next = openTestNetwork(config, state.path);
  const [address, address6] = next.leases.get(live.id)!.addresses;
  for (const family of ["ip", "ip6"]) run("nft", "flush", "table", family, config.table);
  await next.network.reconcile(new Set([live.id]));
  expect(await next.network.owned()).toEqual({
    links: expect.arrayContaining([config.bridge, hostInterfaceOf(live.id)]),
    leases: [live.id],
  });
  expect(remainders(config, [hostInterfaceOf(dead.id)])).toEqual([
    config.bridge,
    `table ${config.table}`,
    `table ip6 ${config.table}`,
  ]);
  for (const [family, pod] of [
    ["ip", address],
    ["ip6", address6],
  ] as const) {
    const table = run("nft", "list", "table", family, config.table);
    expect(table).toContain(`udp . ${port} : ${pod} . 53`);
    expect(table).not.toContain(`${port + 1}`);
    expect(table).toContain("masquerade");
  }
  expect(live.run("ip", "-br", "addr", "show", "eth0")).toContain(`${address}/24`);
  expect(live.run("ip", "-br", "addr", "show", "eth0")).toContain(`${address6}/64`);
});
