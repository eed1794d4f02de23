// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addressResult, type PluginCall } from "./harness/cni.ts";
import { chain, names, usePlugins } from "./harness/cni-fixture.ts";
import { eventually } from "./harness/eventually.ts";
import { runningPod } from "./harness/manifests.ts";
import { runSandbox, type SandboxConfig, sandboxInfo, sandboxStatus } from "./harness/pods.ts";

// Plugins of the tests' own, which touch nothing of the machine: what podrt tells them, and what it makes of what
// they answer. e2e-cni-plugins.test.ts has real ones, e2e-cni-faults.test.ts those that fail.

const { fixture, plugins, configure, behave, repair, callsOf, remove } = usePlugins();

async function networkCondition(): Promise<{ status: boolean; reason: string; message: string }> {
  const { status } = await fixture.daemon.api.status({});
  return status!.conditions.find(({ type }) => type === "NetworkReady")!;
}

test("pods are in podrt's own network until there is a configuration; those that run keep what they have", async () => {
  const { daemon } = fixture;
  configure(undefined);
  const own = await runSandbox(daemon, "own");
  const { ip: ownAddress } = (await sandboxStatus(daemon, own)).network!;
  expect(ownAddress).toMatch(/^10\./);
  expect(plugins.calls()).toEqual([]);
  configure(chain);
  const plugged = await runSandbox(daemon, "plugged");
  expect((await sandboxStatus(daemon, plugged)).network!.ip).toBe("192.0.2.7");
  expect((await sandboxStatus(daemon, own)).network!.ip).toBe(ownAddress);
  configure(undefined);
  expect(await networkCondition()).toMatchObject({ status: true });
  await remove(plugged);
  await remove(own);
  expect(names(callsOf(plugged, "DEL"))).toEqual(["DEL second", "DEL first"]);
  expect(callsOf(own, "ADD", "DEL")).toEqual([]);
});

test("plugins are told what the specification and Kubernetes' conventions ask for", async () => {
  const { daemon } = fixture;
  const config = {
    portMappings: [
      { protocol: 1, containerPort: 53, hostPort: 5353, hostIp: "2001:db8::1" },
      { containerPort: 80 },
    ],
    annotations: { "kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1k" },
    dnsConfig: { servers: ["192.0.2.53"], searches: ["example.org"], options: ["ndots:5"] },
  } as SandboxConfig;
  const id = await runSandbox(daemon, "told", config);
  const calls = callsOf(id, "ADD");
  expect(names(calls)).toEqual(["ADD first", "ADD second"]);
  const [first, second] = calls as [PluginCall, PluginCall];
  expect(first.netns).toBe(join(daemon.root, "run/pods", id, "netns"));
  expect(first.interfaceName).toBe("eth0");
  expect(first.path).toBe(`/nowhere/cni:${plugins.directory}`);
  expect(first.args.split(";")).toEqual([
    "IgnoreUnknown=1",
    "K8S_POD_NAMESPACE=default",
    "K8S_POD_NAME=told",
    `K8S_POD_INFRA_CONTAINER_ID=${id}`,
    "K8S_POD_UID=uid-told",
  ]);
  const given = [
    "CNI_ARGS",
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_IFNAME",
    "CNI_NETNS",
    "CNI_PATH",
    "PATH",
    "PWD",
  ];
  expect(first.variables.filter((name) => !["_", "OLDPWD", "SHLVL"].includes(name))).toEqual(given);
  expect(first.conf).toEqual({ ...chain.plugins[0], cniVersion: "1.0.0", name: "chained" });
  const burst = 0xffff_ffff;
  expect(second.conf).toEqual({
    ...chain.plugins[1],
    cniVersion: "1.0.0",
    name: "chained",
    prevResult: addressResult("192.0.2.1/24"),
    runtimeConfig: {
      portMappings: [{ protocol: "udp", containerPort: 53, hostPort: 5353, hostIP: "2001:db8::1" }],
      bandwidth: { ingressRate: 10_000_000, ingressBurst: burst, egressRate: 1000, egressBurst: burst },
      dns: { servers: ["192.0.2.53"], searches: ["example.org"], options: ["ndots:5"] },
    },
  });
  // What ADD got is what DEL gets, whatever the configuration says by then.
  configure({ ...chain, name: "another", plugins: [{ type: "third" }] });
  await remove(id);
  const undone = callsOf(id, "DEL");
  expect(names(undone)).toEqual(["DEL second", "DEL first"]);
  const prevResult = addressResult("192.0.2.7/24");
  expect(undone[0]!.conf).toEqual({ ...second.conf, prevResult });
  expect(undone[1]!.conf).toEqual({ ...first.conf, prevResult });
  expect(undone.every(({ netns }) => netns === first.netns)).toBe(true);
});

test("a kubelet's subnets go to the plugins that ask for ranges", async () => {
  const { daemon } = fixture;
  configure(
    { cniVersion: "0.3.1", name: "single", type: "first", capabilities: { ipRanges: true } },
    "05.conf",
  );
  const networkConfig = { podCidr: "10.244.7.0/24,fd00:7::/64" };
  await daemon.api.updateRuntimeConfig({ runtimeConfig: { networkConfig } });
  const id = await runSandbox(daemon, "ranged");
  configure(undefined, "05.conf");
  const ipRanges = [[{ subnet: "10.244.7.0/24" }], [{ subnet: "fd00:7::/64" }]];
  expect(callsOf(id, "ADD")[0]!.conf["runtimeConfig"]).toEqual({ ipRanges });
  await remove(id);
  // Version 0.3.1 knows no results of former plugins at DEL.
  expect(callsOf(id, "DEL")[0]!.conf).not.toHaveProperty("prevResult");
});

test("all addresses of the pod's interface are in its status, in the plugin's order", async () => {
  const { daemon } = fixture;
  const [address, other] = ["fd00:1::7", "192.0.2.9"];
  plugins.install("second", {
    ...addressResult(`${address}/64`, `${other}/24`),
    ips: [
      { address: "198.51.100.1/24", interface: 0 },
      { address: `${address}/64`, interface: 1 },
      { address: `${other}/24`, interface: 1, gateway: "192.0.2.1" },
    ],
  });
  const id = await runSandbox(daemon, "dual");
  const { network } = await sandboxStatus(daemon, id);
  expect(network!.ip).toBe(address);
  expect(network!.additionalIps.map(({ ip }) => ip)).toEqual([other]);
  expect(await sandboxInfo(daemon, id)).toMatchObject({
    cniResult: { ips: [{}, {}, { gateway: "192.0.2.1" }] },
  });
  await remove(id);
});

test("a pod of podrt run is in the plugins' network like any other", async () => {
  const { daemon } = fixture;
  const spec =
    "{containers: [{name: app, image: busybox, command: [sleep, '3600']}], terminationGracePeriodSeconds: 0}";
  const stdin = `apiVersion: v1\nkind: Pod\nmetadata: {name: kept}\nspec: ${spec}\n`;
  expect(await daemon.podrtWith({ stdin }, "run", "--detach", "-")).toMatchObject({ code: 0 });
  expect((await runningPod(daemon, "kept")).addresses).toEqual(["192.0.2.7"]);
  await daemon.pods.deletePod({ namespace: "default", name: "kept", graceSeconds: 0 });
  const calls = plugins.calls().filter(({ args }) => args.includes("K8S_POD_NAME=kept"));
  expect(names(calls)).toEqual(["ADD first", "ADD second", "DEL second", "DEL first"]);
});

test("a pod in the host's network is no business of plugins", async () => {
  const options = { network: 2, pid: 1 };
  const config = { linux: { securityContext: { namespaceOptions: options } } } as SandboxConfig;
  configure("{");
  const id = await runSandbox(fixture.daemon, "host", config);
  await remove(id);
  expect(callsOf(id, "ADD", "DEL")).toEqual([]);
});

test("DEL is told when the namespace has gone already", async () => {
  const { daemon } = fixture;
  const id = await runSandbox(daemon, "gone");
  const { pid } = (await sandboxInfo(daemon, id)) as { pid: number };
  Bun.spawnSync(["umount", "-l", join(daemon.root, "run/pods", id, "netns")]);
  process.kill(pid, "SIGKILL");
  await remove(id);
  expect(callsOf(id, "DEL").map(({ netns }) => netns)).toEqual(["", ""]);
});

test("a daemon that starts has the network checked, and collected from what nobody has any more", async () => {
  const { daemon } = fixture;
  configure({ ...chain, cniVersion: "1.1.0" });
  const id = await runSandbox(daemon, "kept");
  await daemon.kill();
  plugins.forget();
  behave("second", "CHECK", 'echo \'{"code": 7, "msg": "the route is gone"}\'; exit 1');
  await daemon.start();
  await eventually("both are checked", () => callsOf(id, "CHECK").length === 2);
  expect(callsOf(id, "CHECK")[0]!.conf["prevResult"]).toMatchObject({ ips: [{ address: "192.0.2.7/24" }] });
  await eventually("the log says so", () => daemon.log().includes("code 7: the route is gone"));
  const collections = () => plugins.calls().filter(({ command }) => command === "GC");
  await eventually("both have collected", () => collections().length >= 2, 30_000);
  const attachments = [{ containerID: id, ifname: "eth0" }];
  expect(collections()[0]!.conf["cni.dev/valid-attachments"]).toEqual(attachments);
  expect(collections()[0]!.variables).not.toContain("CNI_CONTAINERID");
  expect((await sandboxStatus(daemon, id)).state).toBe(0);
  await remove(id);
});

describe("the network is not ready", () => {
  const reason = "NetworkPluginNotReady";
  async function saysOf(message: string): Promise<void> {
    await eventually(`the condition says: ${message}`, async () => {
      const condition = await networkCondition();
      return !condition.status && condition.reason === reason && condition.message.includes(message);
    });
  }
  const ready = () => eventually("the network is ready", async () => (await networkCondition()).status);

  test("while its only file is broken, and pods are refused with the same words", async () => {
    const file = join(fixture.daemon.root, "cni/net.d/10-chained.conflist");
    configure("{ broken");
    await saysOf(`no CNI configuration can be used: ${file}: is no JSON`);
    await expect(runSandbox(fixture.daemon, "refused")).rejects.toThrow(`${file}: is no JSON`);
    configure({ ...chain, cniVersion: "2.0.0" });
    await saysOf("cniVersion: is 2.0.0; podrt speaks 0.3.0 to 1.1.0");
    configure({ ...chain, plugins: [{ type: "../../bin/sh" }] });
    await saysOf("plugins.0.type: is no name of a plugin");
    configure(chain);
    await ready();
  });

  test("while there is no file, where one is required", async () => {
    const { daemon } = fixture;
    const file = join(daemon.root, "config.toml");
    const before = readFileSync(file, "utf8");
    configure(undefined);
    await ready();
    await daemon.kill();
    writeFileSync(file, `${before}\ncni_required = true\n`);
    await daemon.start();
    const message = `there is no CNI configuration in ${join(daemon.root, "cni/net.d")}`;
    await saysOf(message);
    await expect(runSandbox(daemon, "waiting")).rejects.toThrow(message);
    configure(chain);
    await ready();
    await daemon.kill();
    writeFileSync(file, before);
    await daemon.start();
  });

  test("never because of a broken file when another is good", async () => {
    const { daemon } = fixture;
    configure("{ broken", "00-broken.conflist");
    await ready();
    expect(daemon.log()).toContain("00-broken.conflist: is no JSON");
    const { info } = await daemon.api.status({ verbose: true });
    expect(JSON.parse(info["config"]!)).toMatchObject({ cniconfig: { conf: { name: "chained" } } });
    configure(undefined, "00-broken.conflist");
  });

  test("while a plugin is missing, or too old, or says so itself", async () => {
    configure({ ...chain, cniVersion: "1.1.0", plugins: [{ type: "absent" }] });
    await saysOf("network chained: plugin absent is in none of /nowhere/cni, ");
    configure({ ...chain, cniVersion: "1.1.0" });
    behave("first", "VERSION", `echo '{"supportedVersions":["0.4.0"]}'; exit 0`);
    await saysOf("plugin first speaks 0.4.0, not the network's cniVersion 1.1.0; install a newer one");
    repair();
    // A configuration that is written anew is asked about at once.
    configure({ ...chain, cniVersion: "1.1.0" });
    behave("second", "STATUS", `echo '{"code": 50, "msg": "no route to the world"}'; exit 1`);
    await saysOf("network chained: STATUS by plugin second failed with code 50: no route to the world");
    repair();
    configure({ ...chain, cniVersion: "1.1.0" });
    await ready();
  });
});

test("a rate that is none is refused by the annotation's name, before anything is made", async () => {
  const annotations = { "kubernetes.io/egress-bandwidth": "fast" };
  await expect(runSandbox(fixture.daemon, "fast", { annotations } as SandboxConfig)).rejects.toThrow(
    '[invalid_argument] config.annotations[kubernetes.io/egress-bandwidth]: "fast" is no rate',
  );
  expect(names(plugins.calls()).filter((name) => name.startsWith("ADD"))).toEqual([]);
});
