// SPDX-License-Identifier: Apache-2.0

/**
 * Runs a kubelet with an API server on podrt, and what a node goes through in its life. They have namespaces of their own for the
 * network, with one address and no way out, and for mounts: the kubelet and containerd keep some things at places of
 * their own below /var and /run, whatever their configuration says.
 *
 * usage: [PEER=containerd] [EVENTED=1] [CNI=1] [PROBES=110] [KUBEADM=1] bun test/kubelet/run.ts [NAME]
 *   NAME     runs only the tests whose names match
 *   PEER     runs them on another runtime, to compare podrt with
 *   EVENTED  lets the kubelet hear of its containers by the runtime's events (feature gate EventedPLEG)
 *   CNI      puts podrt's pods in a network of plugins
 *   KUBEADM  lets kubeadm make the cluster, and runs the tests of that instead
 *   PROBES   measures so many pods with an exec probe each second instead
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { controlPlane } from "../fixtures/images/kubernetes.ts";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";
import { nodeAddress } from "./cluster.ts";

if (process.getuid?.() !== 0) {
  console.error("make kubelet: needs root, as every container runtime does");
  process.exit(1);
}
const { PEER, PROBES, KUBEADM } = process.env;
const needed = ["etcd", "kube-apiserver", "kubectl", "kubelet", "crictl"];
if (KUBEADM) needed.push("kubeadm", ...controlPlane);
if (PEER) needed.push("containerd", "containerd-shim-runc-v2");
const missing = needed.filter((name) => !existsSync(join(buildDir, "bin", name)));
if (missing.length > 0) {
  console.error(`make kubelet: without ${missing.join(" and ")} nothing is tested`);
  process.exit(1);
}
/** Where the kubelet and kubeadm write, whatever they are told: what they write there is not the machine's. */
const written = ["/etc", "/var/lib", "/usr/libexec"];
const kept = ["/var/lib/kubelet", "/var/lib/cni", "/var/lib/etcd"];
const overlay = (path: string) => {
  const upper = `/run/written${path}`;
  const options = `lowerdir=${path},upperdir=${upper}/upper,workdir=${upper}/work`;
  return [`mkdir -p ${upper}/upper ${upper}/work`, `mount -t overlay -o ${options} overlay ${path}`];
};
const machine = [
  // Copies of mounts of other instances: who cleans up after those ends whatever still sees one.
  "awk '$5 ~ \"^/tmp/\" { print $5 }' /proc/self/mountinfo | xargs -r -n 1 umount -l 2>/dev/null || true",
  "ip link set lo up",
  "ip link add node0 type bridge",
  `ip address add ${nodeAddress}/24 dev node0`,
  "ip link set node0 up",
  "ip route add default dev node0",
  "mount -t tmpfs tmpfs /run",
  ...written.flatMap(overlay),
  `mkdir -p ${kept.join(" ")}`,
  ...["/var/log", ...kept].map((path) => `mount -t tmpfs tmpfs ${path}`),
  'exec "$@"',
].join(" && ");
const names = process.argv.slice(2).flatMap((name) => ["--test-name-pattern", name]);
const files = KUBEADM ? ["kubeadm.ts"] : ["pods.ts", "life.ts"];
const tests = ["test", "--timeout=600000", ...names, ...files.map((file) => `./test/kubelet/${file}`)];
const script = PROBES ? ["./test/kubelet/probes.ts", PROBES] : tests;
const child = spawn(
  "unshare",
  [
    ...["--mount", "--net", "--propagation", "private", "sh", "-c", machine, "node"],
    ...[process.execPath, ...script],
  ],
  { cwd: projectDir, stdio: "inherit" },
);
child.once("exit", (code) => process.exit(code ?? 1));
