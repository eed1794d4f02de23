// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import type { PodSandboxStatus } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { runContainer, runSandbox, type SandboxConfig, sandboxStatus, shellIn } from "./harness/pods.ts";

// podrt's own network with a subnet of each family. What of it stays on the machine fails the file at its end.

const fixture = useDaemon({ subnets: "both" });
const CONTAINER_PORT = 8080;
const hostPort = 45_000 + (process.pid % 1000);
const names = ["first", "second"] as const;
let pods: Record<(typeof names)[number], { sandbox: string; container: string; addresses: [string, string] }>;

function addressesIn({ network }: PodSandboxStatus): [string, string] {
  expect(network!.additionalIps).toHaveLength(1);
  return [network!.ip, network!.additionalIps[0]!.ip];
}

/** Answers each request to its port, of either family, with its name; only the first has a host port. */
async function serving(name: string) {
  const { daemon } = fixture;
  const portMappings = name === "first" ? [{ containerPort: CONTAINER_PORT, hostPort }] : [];
  const sandbox = await runSandbox(daemon, name, { hostname: name, portMappings } as SandboxConfig);
  const line = `mkdir /srv; echo ${name} > /srv/index.html; exec httpd -f -p [::]:${CONTAINER_PORT} -h /srv`;
  const container = await runContainer(daemon, sandbox, { name: "server", command: ["sh", "-c", line] });
  return { sandbox, container, addresses: addressesIn(await sandboxStatus(daemon, sandbox)) };
}

async function answer(host: string, port: number): Promise<string> {
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/`;
  return (await (await fetch(url, { signal: AbortSignal.timeout(5000), keepalive: false })).text()).trim();
}

/** The machine's address in the pods' network of IPv6. */
function gateway6(): string {
  return pods.first.addresses[1].replace(/::.*$/, "::1");
}

beforeAll(async () => {
  pods = { first: await serving("first"), second: await serving("second") };
});

test("a pod's addresses are in its status, in podrt inspect, in /etc/hosts and on its interface", async () => {
  const { daemon } = fixture;
  for (const name of names) {
    const { sandbox, container, addresses } = pods[name];
    expect(addresses).toEqual([expect.stringMatching(/^10\./), expect.stringMatching(/^fd97:/)]);
    const hosts = await shellIn(daemon, container, "cat /etc/hosts");
    expect(hosts).toContain("::1\tlocalhost");
    for (const address of addresses) expect(hosts).toContain(`${address}\t${name}`);
    const shown = await shellIn(daemon, container, "ip addr show dev eth0; ip -6 route");
    for (const address of addresses) expect(shown).toContain(` ${address}/`);
    expect(shown).toContain(`default via ${gateway6()} dev eth0`);
    expect(shown).not.toContain("tentative");
    const { stdout } = await daemon.podrt("inspect", sandbox);
    const { status } = (JSON.parse(stdout) as { sandbox: { status: { network: object } } }).sandbox;
    expect(status.network).toEqual({ ip: addresses[0], additionalIps: [{ ip: addresses[1] }] });
  }
});

test("pods and the machine reach each other by both families", async () => {
  const { daemon } = fixture;
  for (const [from, to] of [
    ["first", "second"],
    ["second", "first"],
    ["first", "first"],
  ] as const) {
    for (const address of pods[to].addresses) {
      const host = address.includes(":") ? `[${address}]` : address;
      const ask = `wget -q -O - http://${host}:${CONTAINER_PORT}/`;
      await eventually(
        `${to} answers ${from} at ${address}`,
        async () => (await shellIn(daemon, pods[from].container, ask)) === to,
        60_000,
      );
    }
  }
  for (const address of pods.second.addresses) expect(await answer(address, CONTAINER_PORT)).toBe("second");
});

test("a host port leads to the pod by both families, also after a restart of the daemon", async () => {
  const { daemon } = fixture;
  const places = ["127.0.0.1", gateway6()];
  for (const place of places) expect(await answer(place, hostPort)).toBe("first");
  const ask = `wget -q -O - http://[${gateway6()}]:${hostPort}/`;
  expect(await shellIn(daemon, pods.second.container, ask)).toBe("first");
  const table = ["list", "table", "ip6", `podrt_${instanceOf(daemon.root)}`];
  const before = await outputOf("nft", table);
  await daemon.kill();
  await outputOf("nft", ["delete", ...table.slice(1)]);
  await daemon.start();
  for (const place of places) expect(await answer(place, hostPort)).toBe("first");
  expect(await outputOf("nft", table)).toBe(before);
  expect(addressesIn(await sandboxStatus(daemon, pods.first.sandbox))).toEqual(pods.first.addresses);
  const third = await runSandbox(daemon, "third");
  const given = addressesIn(await sandboxStatus(daemon, third));
  for (const { addresses } of Object.values(pods)) expect(addresses).not.toContain(given[1]);
  await daemon.api.removePodSandbox({ podSandboxId: third });
});

test("a pod of a manifest is told of both addresses", async () => {
  const { daemon } = fixture;
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "told" },
    spec: {
      restartPolicy: "Never",
      containers: [
        {
          name: "app",
          image: "busybox",
          command: ["sh", "-c", "echo $IPS; grep told /etc/hosts; ip -o addr show dev eth0"],
          env: [{ name: "IPS", valueFrom: { fieldRef: { fieldPath: "status.podIPs" } } }],
        },
      ],
    },
  };
  const ran = await daemon.podrtWith({ stdin: JSON.stringify(manifest) }, "run", "-");
  expect(ran).toMatchObject({ code: 0 });
  const [, four, six] = /(10\.[\d.]+),(fd97:[0-9a-f:]+)\n/.exec(ran.stdout) ?? [];
  for (const text of [`${four}\ttold`, `${six}\ttold`, ` ${four}/`, ` ${six}/`])
    expect(ran.stdout).toContain(text);
});

test("a host port on ::1 is refused by name, a pod without IPv6 has IPv4 alone", async () => {
  const { daemon } = fixture;
  const portMappings = [{ containerPort: 80, hostPort: hostPort + 1, hostIp: "::1" }];
  await expect(runSandbox(daemon, "loop", { portMappings } as SandboxConfig)).rejects.toThrow(
    "[unimplemented] config.port_mappings[0].host_ip: host ports on ::1 are not supported",
  );
  const sandbox = await runSandbox(daemon, "four", {
    linux: {
      securityContext: { namespaceOptions: { pid: 1 } },
      sysctls: { "net.ipv6.conf.all.disable_ipv6": "1" },
    },
  } as SandboxConfig);
  const { network } = await sandboxStatus(daemon, sandbox);
  expect(network!.ip).toStartWith("10.");
  expect(network!.additionalIps).toEqual([]);
  await daemon.api.removePodSandbox({ podSandboxId: sandbox });
});
