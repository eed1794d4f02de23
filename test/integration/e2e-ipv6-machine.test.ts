// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openNamespace } from "../../src/linux/namespace.ts";
import { patience } from "../support/patience.ts";
import { advertiseRouter } from "../support/router-advertisement.ts";
import { binary, type Daemon, type Program, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { pausePid, runSandbox, sandboxStatus } from "./harness/pods.ts";
import { run, TestPod } from "./network-harness.ts";

// A machine that hears of its router by IPv6, and one without IPv6: the daemon is in a network namespace of its own,
// whose settings these are.

setDefaultTimeout(60_000 * patience);
const UPLINK = "up0";
const UPLINK_CONF = `/proc/sys/net/ipv6/conf/${UPLINK}`;
const FORWARDING = "/proc/sys/net/ipv6/conf/all/forwarding";
let machine: TestPod;
let router: TestPod;
let daemon: Daemon;
let scratch: string;
let program: Program;

const shell = (line: string, where = machine) => where.run("sh", "-c", line).trim();
const defaultRoutes = (netns: string) =>
  run("nsenter", "-t", netns, "-n", "ip", "-6", "route", "show", "default");

/** The number of the router's interface. */
function wire(): number {
  return (JSON.parse(router.run("ip", "-j", "link", "show", "eth0")) as [{ ifindex: number }])[0].ifindex;
}

async function remove(podSandboxId: string): Promise<void> {
  await daemon.api.stopPodSandbox({ podSandboxId });
  await daemon.api.removePodSandbox({ podSandboxId });
}

async function networkMessage(): Promise<string> {
  const { status } = await daemon.api.status({});
  return status!.conditions.find(({ type }) => type === "NetworkReady")!.message;
}

beforeAll(async () => {
  machine = await TestPod.start();
  router = await TestPod.start();
  machine.run("ip", "link", "set", "lo", "up");
  run(
    ...["nsenter", "-t", `${machine.pid}`, "-n", "ip", "link", "add", UPLINK, "type", "veth"],
    ...["peer", "name", "eth0", "netns", `${router.pid}`],
  );
  shell(`echo 0 > ${UPLINK_CONF}/accept_dad`);
  shell("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad", router);
  machine.run("ip", "link", "set", UPLINK, "up");
  router.run("ip", "link", "set", "eth0", "up");
  scratch = mkdtempSync(join(tmpdir(), "podrt-ipv6-"));
  const path = join(scratch, "podrt");
  writeFileSync(path, `#!/bin/sh\nexec nsenter --net=/proc/${machine.pid}/ns/net ${binary} "$@"\n`);
  chmodSync(path, 0o755);
  program = { path, environment: {} };
  daemon = await startDaemon({ subnets: "both", program });
});

afterAll(async () => {
  await daemon?.close();
  await machine?.end();
  await router?.end();
  if (scratch !== undefined) rmSync(scratch, { recursive: true });
});

test("a machine that a router told its way keeps it while it forwards, and is as before afterwards", async () => {
  await eventually("the machine hears the router", () => {
    advertiseRouter(router.namespace.number, wire());
    return defaultRoutes(`${machine.pid}`).includes(`dev ${UPLINK}`);
  });
  const rules = machine.run("nft", "list", "ruleset");
  expect([shell(`cat ${FORWARDING}`), shell(`cat ${UPLINK_CONF}/accept_ra`)]).toEqual(["0", "1"]);
  const id = await runSandbox(daemon, "routed");
  expect([shell(`cat ${FORWARDING}`), shell(`cat ${UPLINK_CONF}/accept_ra`)]).toEqual(["1", "2"]);
  expect(defaultRoutes(`${machine.pid}`)).toContain(`dev ${UPLINK}`);
  expect(machine.run("nft", "list", "tables")).toMatch(/table ip6 podrt_\w+/);
  const comment = `podrt: forwarding was 0; accept_ra was 1 on ${UPLINK}`;
  expect(machine.run("nft", "list", "ruleset")).toContain(comment);
  // What was found is known to the next daemon too.
  await daemon.kill();
  await daemon.start();
  expect((await sandboxStatus(daemon, id)).network!.additionalIps).toHaveLength(1);
  await remove(id);
  expect([shell(`cat ${FORWARDING}`), shell(`cat ${UPLINK_CONF}/accept_ra`)]).toEqual(["0", "1"]);
  expect(defaultRoutes(`${machine.pid}`)).toContain(`dev ${UPLINK}`);
  expect(machine.run("nft", "list", "ruleset")).toBe(rules);
  expect(
    machine
      .run("ip", "-o", "link")
      .split("\n")
      .filter((line) => line !== ""),
  ).toHaveLength(2);
});

test("where the database is lost, what the machine was like before is known from the table's comment", async () => {
  const options = [`cat ${FORWARDING}`, `cat ${UPLINK_CONF}/accept_ra`];
  await runSandbox(daemon, "lost");
  expect(options.map((line) => shell(line))).toEqual(["1", "2"]);
  await daemon.kill();
  for (const suffix of ["", "-wal", "-shm"])
    rmSync(join(daemon.root, `lib/podrt.db${suffix}`), { force: true });
  await daemon.start();
  expect(options.map((line) => shell(line))).toEqual(["0", "1"]);
  expect(machine.run("nft", "list", "tables")).not.toContain("podrt");
});

test("a pod that says it is a router is believed by nobody", async () => {
  const [liar, victim] = [await runSandbox(daemon, "liar"), await runSandbox(daemon, "victim")];
  const namespace = openNamespace(await pausePid(daemon, liar), "net");
  const enter = ["nsenter", "-t", `${await pausePid(daemon, liar)}`, "-n"];
  const [{ ifindex }] = JSON.parse(run(...enter, "ip", "-j", "link", "show", "eth0")) as [
    { ifindex: number },
  ];
  const received = (pid: number | string) =>
    Number(/Icmp6InRouterAdvertisements\s+(\d+)/.exec(run("cat", `/proc/${pid}/net/snmp6`))![1]);
  const victimPid = await pausePid(daemon, victim);
  const before = [received(victimPid), received(machine.pid)] as const;
  await eventually("both have got what the pod says", () => {
    advertiseRouter(namespace.number, ifindex);
    return received(victimPid) > before[0] && received(machine.pid) > before[1];
  }).finally(() => namespace.close());
  expect(defaultRoutes(`${victimPid}`).trim().split("\n")).toEqual([expect.stringContaining("via fd97:")]);
  expect(defaultRoutes(`${machine.pid}`)).not.toContain(`dev prt`);
  await remove(liar);
  await remove(victim);
});

test("on a machine without IPv6 the subnet of IPv6 is named, and pods come as soon as there is IPv6", async () => {
  shell("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
  const reason =
    /network\.subnet fd97:\S+ is of IPv6, but net\.ipv6\.conf\.all\.disable_ipv6 is 1 on this machine/;
  await expect(runSandbox(daemon, "refused")).rejects.toThrow(reason);
  expect(await networkMessage()).toMatch(reason);
  expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
  await daemon.kill();
  await daemon.start();
  await eventually("the daemon says so from its start", async () => reason.test(await networkMessage()));
  shell("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
  await eventually("it notices", async () => (await networkMessage()) === "");
  const id = await runSandbox(daemon, "taken");
  expect((await sandboxStatus(daemon, id)).network!.additionalIps).toHaveLength(1);
  await remove(id);
});

test("a kubelet of a cluster with two families is followed where no subnet is configured", async () => {
  const follower = await startDaemon({ subnets: "none", program });
  try {
    const networkConfig = { podCidr: "10.95.7.0/24,fd95:0:0:7::/64" };
    const addressesOf = async (name: string) => {
      await follower.api.updateRuntimeConfig({ runtimeConfig: { networkConfig } });
      const { network } = await sandboxStatus(follower, await runSandbox(follower, name));
      return [network!.ip, ...network!.additionalIps.map(({ ip }) => ip)];
    };
    // Without IPv6 the other subnet is better than none, and the log says so.
    shell("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    expect(await addressesOf("four")).toEqual(["10.95.7.2"]);
    expect(follower.log()).toContain("the cluster's subnet of IPv6 for this node is not taken");
    shell("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    expect(await addressesOf("both")).toEqual(["10.95.7.3", "fd95:0:0:7::2"]);
  } finally {
    await follower.close();
  }
});
