// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { type CommandResult, runCommand } from "../integration/harness/command.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { nodeAddress, nodeName } from "./cluster.ts";
import { makeCgroups, removeCgroups, takeSysctls } from "./machine.ts";
import { type RunningProgram, startProgram } from "./program.ts";
import { unmountBelow } from "./unmount.ts";

const binDir = join(buildDir, "bin");
const environment = { PATH: `${binDir}:${process.env["PATH"]}` };
/** kubeadm writes and reads at these places, of a file tree that run.ts has made for it. */
const kubeletDir = "/var/lib/kubelet";
export const adminConfig = "/etc/kubernetes/admin.conf";
const commandTimeoutMs = 300_000;

/** A node that kubeadm makes; what a service manager does for the kubelet, this does. */
export interface KubeadmNode {
  /** kubeadm's configuration of the cluster and the node. */
  readonly config: string;
  kubeadm(...args: readonly string[]): Promise<CommandResult>;
  /** The same, which must succeed; answers all that it said. */
  must(...args: readonly string[]): Promise<string>;
  kubectl(...args: readonly string[]): Promise<string>;
  /** Creates what the manifest holds. */
  apply(manifest: object): Promise<void>;
  /** Starts the kubelet as soon as kubeadm has written what it starts with. */
  startKubeletWhenTold(): Promise<void>;
  stopKubelet(): Promise<void>;
  kubeletSaid(): string;
  close(): Promise<void>;
}

export function newKubeadmNode(runtimeSocket: string): KubeadmNode {
  const dir = mkdtempSync(join(tmpdir(), "podrt-kubeadm-"));
  const cgroupRoot = `/${basename(dir)}`;
  const config = join(dir, "kubeadm.yaml");
  writeFileSync(
    config,
    documents(runtimeSocket, cgroupRoot)
      .map((each) => JSON.stringify(each))
      .join("\n---\n"),
  );
  const sysctls = takeSysctls();
  makeCgroups(cgroupRoot);
  let kubelet: RunningProgram | undefined;
  const kubeadm = (...args: readonly string[]) =>
    runCommand(join(binDir, "kubeadm"), args, { env: environment, timeoutMs: commandTimeoutMs });
  const kubectl = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await runCommand(join(binDir, "kubectl"), args, {
      env: { KUBECONFIG: adminConfig },
      timeoutMs: 90_000,
    });
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")} exited with ${code}: ${stderr}${stdout}`);
    return stdout;
  };
  return {
    config,
    kubeadm,
    async must(...args) {
      const { code, stdout, stderr } = await kubeadm(...args);
      if (code === 0) return stdout + stderr;
      throw new Error(
        `kubeadm ${args.join(" ")} exited with ${code}: ${stderr}${stdout}\n--\n${kubelet?.said()}`,
      );
    },
    kubectl,
    async apply(manifest) {
      const file = join(dir, "manifest.json");
      writeFileSync(file, JSON.stringify(manifest));
      await kubectl("create", "-f", file);
    },
    async startKubeletWhenTold() {
      const flags = join(kubeletDir, "kubeadm-flags.env");
      await eventually("kubeadm has configured the kubelet", () => existsSync(flags), commandTimeoutMs);
      // As its unit file has it, of kubeadm's packages.
      const [, more = ""] = /KUBELET_KUBEADM_ARGS="(.*)"/.exec(readFileSync(flags, "utf8")) ?? [];
      kubelet = startProgram(
        join(binDir, "kubelet"),
        [
          "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
          "--kubeconfig=/etc/kubernetes/kubelet.conf",
          `--config=${join(kubeletDir, "config.yaml")}`,
          ...more.split(" ").filter((flag) => flag !== ""),
        ],
        dir,
        environment,
      );
    },
    async stopKubelet() {
      await kubelet?.stop();
      kubelet = undefined;
    },
    kubeletSaid: () => kubelet?.said() ?? "",
    async close() {
      await kubelet?.stop();
      for (const [file, value] of sysctls) writeFileSync(file, value);
      removeCgroups(cgroupRoot);
      await unmountBelow(kubeletDir);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The documents of kubeadm's configuration; docs/kubernetes.md shows them. */
function documents(runtimeSocket: string, cgroupRoot: string): object[] {
  const api = "kubeadm.k8s.io/v1beta4";
  return [
    {
      apiVersion: api,
      kind: "InitConfiguration",
      nodeRegistration: {
        name: nodeName,
        criSocket: `unix://${runtimeSocket}`,
        kubeletExtraArgs: [{ name: "node-ip", value: nodeAddress }],
      },
      localAPIEndpoint: { advertiseAddress: nodeAddress, bindPort: 6443 },
    },
    {
      apiVersion: api,
      kind: "ClusterConfiguration",
      kubernetesVersion: readVersion(),
      dns: { disabled: true },
    },
    {
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      featureGates: { PodAndContainerStatsFromCRI: true },
      failCgroupV1: false,
      cgroupRoot,
    },
    {
      apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
      kind: "KubeProxyConfiguration",
      mode: "nftables",
      // Settings of the machine, which a network namespace may not change.
      conntrack: { maxPerCore: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    },
  ];
}

/** The version of Kubernetes that the Go module names. */
function readVersion(): string {
  const text = readFileSync(join(import.meta.dir, "go.mod"), "utf8");
  const [, version] = /\bk8s\.io\/kubernetes (v\S+)/.exec(text) ?? [];
  if (version === undefined) throw new Error("test/kubelet/go.mod names no version of k8s.io/kubernetes");
  return version;
}
