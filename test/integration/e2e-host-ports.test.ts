// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { NamespaceMode, Protocol } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { runContainer, runSandbox, type SandboxConfig, sandboxStatus } from "./harness/pods.ts";

const fixture = useDaemon();
const firstPort = 38_000 + (process.pid % 400) * 4;
const CONTAINER_PORT = 8080;

interface Mapping {
  readonly hostPort: number;
  readonly hostIp?: string;
  readonly protocol?: Protocol;
  readonly containerPort?: number;
}

function mapping(...mappings: readonly Mapping[]): SandboxConfig {
  const portMappings = mappings.map(({ containerPort = CONTAINER_PORT, ...more }) => ({
    containerPort,
    ...more,
  }));
  return {
    portMappings,
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
  } as SandboxConfig;
}

/** A pod that answers each request to its port with its own name. */
async function serving(name: string, ...mappings: readonly Mapping[]): Promise<string> {
  const id = await runSandbox(fixture.daemon, name, mapping(...mappings));
  const line = `mkdir /srv; echo ${name} > /srv/index.html; exec httpd -f -p ${CONTAINER_PORT} -h /srv`;
  const command = ["sh", "-c", line];
  await runContainer(fixture.daemon, id, { name: "server", command });
  return id;
}

/** What a server says to whoever connects; a refusal or silence is an error. */
async function answer(host: string, port: number): Promise<string> {
  const options = { signal: AbortSignal.timeout(1000), keepalive: false };
  return (await (await fetch(`http://${host}:${port}/`, options)).text()).trim();
}

/** An IPv4 address of the machine other than loopback; a bridge of podrt's own has one at the least. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)!.address;
}

function ruleset(): Promise<string> {
  return outputOf("nft", ["list", "table", "ip", `podrt_${instanceOf(fixture.daemon.root)}`]);
}

test("a host port leads to the pod from loopback and from the machine's addresses, other ports nowhere", async () => {
  const { daemon } = fixture;
  const id = await serving("open", { hostPort: firstPort }, { hostPort: 0 });
  await eventually("the server answers", async () => (await answer("127.0.0.1", firstPort)) === "open");
  expect(await answer(ownAddress(), firstPort)).toBe("open");
  const { network } = await sandboxStatus(daemon, id);
  expect(await answer(network!.ip, CONTAINER_PORT)).toBe("open");
  await expect(answer("127.0.0.1", CONTAINER_PORT)).rejects.toThrow();
  // Of the two mappings the one without a host port is none.
  expect(await ruleset()).toMatch(new RegExp(`elements = \\{ tcp \\. ${firstPort} : [^,}]*\\}`));
});

test("a host port on one address is on no other, and may be another pod's there", async () => {
  const port = firstPort + 1;
  await serving("loopback", { hostPort: port, hostIp: "127.0.0.1" });
  await serving("outside", { hostPort: port, hostIp: ownAddress() });
  await eventually("both answer", async () => {
    const answers = [await answer("127.0.0.1", port), await answer(ownAddress(), port)];
    return answers.join() === "loopback,outside";
  });
});

test("UDP and SCTP have ports of their own", async () => {
  const port = firstPort + 2;
  const protocols = [Protocol.TCP, Protocol.UDP, Protocol.SCTP];
  await serving("protocols", ...protocols.map((protocol) => ({ hostPort: port, protocol })));
  const rules = await ruleset();
  for (const name of ["tcp", "udp", "sctp"]) {
    expect(rules).toMatch(new RegExp(`${name} \\. ${port} : \\S+ \\. ${CONTAINER_PORT}`));
  }
});

test("a port that is taken is refused by its owner's name, and free once that one has stopped", async () => {
  const { daemon } = fixture;
  const hostPort = firstPort + 3;
  const owner = await serving("owner", { hostPort });
  await expect(runSandbox(daemon, "second", mapping({ hostPort }))).rejects.toThrow(
    `[already_exists] host port ${hostPort}/tcp is taken by sandbox ${owner}`,
  );
  const names = (await daemon.api.listPodSandbox({})).items.map(({ metadata }) => metadata?.name);
  expect(names).not.toContain("second");
  await daemon.api.stopPodSandbox({ podSandboxId: owner });
  await serving("heir", { hostPort });
  await eventually("the heir answers", async () => (await answer("127.0.0.1", hostPort)) === "heir");
  await daemon.kill();
  await daemon.start();
  expect(await answer("127.0.0.1", hostPort)).toBe("heir");
});
