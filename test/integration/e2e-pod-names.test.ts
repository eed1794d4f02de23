// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { answerTo, readQuery, TYPE_A } from "../../src/dns/message.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";
import { runSandbox } from "./harness/pods.ts";

/** Who answers for all names but the pods': every name has the address 192.0.2.1. */
const upstream = createSocket("udp4");
const asked: string[] = [];
upstream.on("message", (message, { port, address }) => {
  const reading = readQuery(message);
  if (reading.kind !== "query") return;
  const { query } = reading;
  asked.push(query.name);
  const answers = query.type === TYPE_A ? [{ type: TYPE_A, data: Uint8Array.of(192, 0, 2, 1) }] : [];
  upstream.send(
    answerTo(query, { rcode: 0, answers, ttlSeconds: 5, authority: "example.com" }, 512),
    port,
    address,
  );
});
await new Promise<void>((resolve) => upstream.bind(0, "127.0.0.1", resolve));
afterAll(() => upstream.close());

const fixture = useDaemon({
  config: `[dns]\nupstreams = ["127.0.0.1:${upstream.address().port}"]\n[pods]\nrestart_backoff_ms = 20\n`,
});

const MANIFEST = `apiVersion: v1
kind: Service
metadata: {name: site}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {hostname: first, subdomain: group, containers: [{name: nginx, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: sh, image: busybox, command: [sleep, "10000"]}]
`;

/** What a command in the pod client prints. */
async function inClient(...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await fixture.daemon.podrt("exec", "client/sh", "--", ...command);
  if (code !== 0) throw new Error(`${command.join(" ")} exited with ${code}: ${stdout}${stderr}`);
  return stdout;
}

function resolvConf(sandboxId: string): string {
  return readFileSync(join(fixture.daemon.root, "run/pods", sandboxId, "resolv.conf"), "utf8");
}

test("pods reach each other and Services by name, and everybody else as before", async () => {
  const { daemon } = fixture;
  expect(await daemon.podrtWith({ stdin: MANIFEST }, "run", "--detach", "-")).toMatchObject({ code: 0 });
  const client = await runningPod(daemon, "client");
  const web = await runningPod(daemon, "web-0");
  const [address] = web.addresses;
  const gateway = address!.replace(/\.\d+$/, ".1");
  expect(resolvConf(client.sandboxId)).toStartWith(
    `search default.svc.cluster.local svc.cluster.local cluster.local`,
  );
  expect(resolvConf(client.sandboxId)).toContain(`\nnameserver ${gateway}\noptions ndots:5\n`);
  for (const name of ["web-0", "first", "site", "site.default", "first.group", "group.default.svc"]) {
    const page = await eventually(`http://${name}/ answers`, () =>
      inClient("wget", "-qO-", `http://${name}/`),
    );
    expect(page).toContain("Welcome to nginx!");
  }
  expect(await inClient("nslookup", "web-0.default.svc.cluster.local")).toContain(`Address: ${address}`);
  expect(await inClient("nslookup", address!)).toContain("name = web-0.default.svc.cluster.local");
  await expect(inClient("nslookup", "nobody.default.svc.cluster.local")).rejects.toThrow("NXDOMAIN");
  expect(asked).toEqual([]);
  expect(await inClient("nslookup", "-type=a", "example.com")).toContain("Address: 192.0.2.1");
  expect(asked).toEqual(["example.com"]);
  // The bridge's address is asked from the machine too; a pod of the runtime interface has the machine's resolvers.
  const sandbox = await runSandbox(daemon, "other");
  expect(resolvConf(sandbox)).toBe(readFileSync("/etc/resolv.conf", "utf8"));
  await daemon.api.stopPodSandbox({ podSandboxId: sandbox });
  await daemon.api.removePodSandbox({ podSandboxId: sandbox });
});

test("pods of a StatefulSet have a name and a claim each, which the next ones find again", async () => {
  const set = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: peers
  selector: {matchLabels: {app: db}}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: busybox, command: [sh, -c, "hostname >>/data/who; exec sleep 10000"], volumeMounts: [{name: data, mountPath: /data}]}
`;
  const { daemon } = fixture;
  const claim = join(daemon.root, "lib/claims/default/data-db-1/who");
  for (const times of [1, 2]) {
    expect(await daemon.podrtWith({ stdin: set }, "run", "--detach", "-")).toMatchObject({ code: 0 });
    const { addresses } = await runningPod(daemon, "db-1");
    expect(await inClient("nslookup", "db-1.peers.default.svc.cluster.local")).toContain(
      `Address: ${addresses[0]}`,
    );
    await eventually("the claim is written", async () => {
      const text = readFileSync(claim, "utf8");
      if (text !== "db-1\n".repeat(times)) throw new Error(text);
      return true;
    });
    expect(await daemon.podrtWith({ stdin: set }, "down", "-")).toMatchObject({ code: 0 });
  }
  for (const name of ["data-db-0", "data-db-1"])
    expect((await daemon.podrt("volume", "rm", name)).code).toBe(0);
});

test("the next daemon answers the pods of the one before; a pod that is gone has no name", async () => {
  const { daemon } = fixture;
  await daemon.kill();
  await daemon.start();
  expect(await inClient("nslookup", "web-0.default.svc.cluster.local")).toContain("Address: 10.");
  expect(await daemon.podrt("rm", "-f", "web-0")).toMatchObject({ code: 0 });
  await expect(inClient("nslookup", "site.default.svc.cluster.local")).rejects.toThrow("NXDOMAIN");
});

test("hostNetwork and dnsPolicy Default keep the machine's resolvers", async () => {
  const { daemon } = fixture;
  const pod = (name: string, fields: string) =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {restartPolicy: Never, ${fields}, containers: [{name: c, image: busybox, command: [cat, /etc/resolv.conf]}]}\n`;
  for (const fields of ["dnsPolicy: Default", "hostNetwork: true"]) {
    const ran = await daemon.podrtWith({ stdin: pod("plain", fields) }, "run", "-A", "--rm", "-");
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.stdout.replaceAll(/^.*\| /gm, "")).toBe(readFileSync("/etc/resolv.conf", "utf8"));
  }
});
