// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { kubernetesImages } from "../fixtures/images/kubernetes.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { type Daemon, startDaemon } from "../integration/harness/daemon.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { nodeName } from "./cluster.ts";
import { patientMs } from "./fixture.ts";
import { type KubeadmNode, newKubeadmNode } from "./kubeadm-node.ts";
import { serve, shell } from "./manifest.ts";

setDefaultTimeout(600_000);

let registry: Registry;
let daemon: Daemon;
let node: KubeadmNode;
const staticPods = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(
  (name) => `${name}-${nodeName}`,
);

beforeAll(async () => {
  registry = await startImageRegistry(kubernetesImages);
  daemon = await startDaemon({ mirror: registry.host });
  node = newKubeadmNode(daemon.socket);
});

afterAll(async () => {
  await node?.close();
  await daemon?.close();
  await registry?.[Symbol.asyncDispose]();
});

const podNames = async () =>
  (await daemon.api.listPodSandbox({})).items.map(({ metadata }) => metadata!.name);

test("the images of a control plane are pulled through the runtime", async () => {
  const { stdout, stderr } = await node.kubeadm("config", "images", "pull", "--config", node.config);
  expect(stderr).not.toContain("failed to pull");
  expect(stdout.match(/Pulled registry\.k8s\.io\/\S+/g)).toHaveLength(6);
  const { images } = await daemon.api.listImages({});
  expect(images.flatMap(({ repoTags }) => repoTags)).toContain("registry.k8s.io/etcd:3.6.8-0");
});

test("kubeadm init makes a control plane of static pods, and the node is ready", async () => {
  const init = node.must(
    "init",
    "--config",
    node.config,
    "--ignore-preflight-errors=SystemVerification,Hostname,FileContent--proc-sys-net-ipv4-ip_forward",
  );
  init.catch(() => {});
  await Promise.race([node.startKubeletWhenTold(), init]);
  const said = await init;
  expect(said).toContain("Your Kubernetes control-plane has initialized successfully!");
  // It compares the name alone; the image that it wants is one of the built-in one's names, and not pulled for it.
  expect(said).toContain('the sandbox image "localhost/podrt/pause:built-in" of the container runtime');
  await node.kubectl("wait", "--for=condition=Ready", `node/${nodeName}`, "--timeout=80s");
  for (const name of staticPods) {
    await eventually(
      `${name} is ready`,
      () =>
        node.kubectl("wait", "-n", "kube-system", "--for=condition=Ready", `pod/${name}`, "--timeout=20s"),
      patientMs,
    );
  }
  const names = await podNames();
  for (const name of staticPods) expect(names).toContain(name);
});

test("what is deployed is scheduled, runs, and answers by the service's address", async () => {
  await node.kubectl("taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-");
  const labels = { app: "web" };
  await node.apply({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [shell("web", serve("by a service"))], terminationGracePeriodSeconds: 1 },
      },
    },
  });
  await node.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080");
  await node.kubectl("rollout", "status", "deployment/web", "--timeout=80s");
  await node.kubectl("-n", "kube-system", "rollout", "status", "daemonset/kube-proxy", "--timeout=80s");
  const address = await node.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
  const answer = await eventually(
    "the service answers",
    async () => (await fetch(`http://${address}/`, { signal: AbortSignal.timeout(2000) })).text(),
    patientMs,
  );
  expect(answer).toBe("by a service\n");
});

test("kubeadm reset takes the pods away through the runtime, and what it wrote", async () => {
  await node.stopKubelet();
  expect(await podNames()).not.toEqual([]);
  const said = await node.must("reset", "--force", "--cri-socket", `unix://${daemon.socket}`);
  expect(said).toContain("Deleted contents of the etcd data directory");
  expect(await podNames()).toEqual([]);
  expect(readdirSync("/etc/kubernetes/manifests")).toEqual([]);
  expect(existsSync("/etc/kubernetes/admin.conf")).toBe(false);
});
