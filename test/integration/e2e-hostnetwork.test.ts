// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { NamespaceMode, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";
import { containerPid, runContainer, runSandbox, sandboxStatus, shellIn } from "./harness/pods.ts";
import { namespaceOf } from "./harness/proc.ts";

const fixture = useDaemon();
const namespaceOptions = { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER };
const linux = { securityContext: { namespaceOptions } };

test("a pod on the host's network listens on the host and has the host's name, files and no address", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "host-network", { linux });
  const image = "gcr.io/k8s-staging-cri-tools/hostnet-nginx-amd64";
  await runContainer(daemon, sandboxId, { name: "web", image: { image }, command: [], linux });
  const answer = await eventually("nginx answers on the host", async () => {
    const response = await fetch("http://127.0.0.1:12003/", { signal: AbortSignal.timeout(1000) });
    return await response.text();
  });
  expect(answer).toContain("Welcome to nginx!");
  const shell = await runContainer(daemon, sandboxId, { name: "shell", linux });
  expect(namespaceOf(await containerPid(daemon, shell), "net")).toBe(namespaceOf("self", "net"));
  expect(await shellIn(daemon, shell, "hostname")).toBe(hostname());
  expect(await shellIn(daemon, shell, "cat /etc/hosts")).toBe(readFileSync("/etc/hosts", "utf8").trimEnd());
  const status = await sandboxStatus(daemon, sandboxId);
  expect(status.state).toBe(PodSandboxState.SANDBOX_READY);
  expect(status.network?.ip ?? "").toBe("");
});

test("such a pod cannot change the host's network settings", async () => {
  const { daemon } = fixture;
  const config = { metadata: { name: "sysctl", namespace: "default", uid: "s" } };
  const sysctls = { "net.ipv4.ip_forward": "1" };
  const call = daemon.api.runPodSandbox({ config: { ...config, linux: { ...linux, sysctls } } });
  expect(call).rejects.toThrow(/sysctls.*host/);
  await call.catch(() => {});
});

test("hostNetwork in a manifest does the same", async () => {
  const { daemon } = fixture;
  const manifest = `apiVersion: v1
kind: Pod
metadata: {name: on-host}
spec:
  hostNetwork: true
  containers: [{name: app, image: busybox, command: [sleep, "3600"]}]
`;
  expect(
    (await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "--allow-host-network", "-")).code,
  ).toBe(0);
  const pod = await runningPod(daemon, "on-host");
  const pid = await containerPid(daemon, pod.containers[0]!.containerId);
  expect(namespaceOf(pid, "net")).toBe(namespaceOf("self", "net"));
});
