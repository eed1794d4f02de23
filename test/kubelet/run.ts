// SPDX-License-Identifier: Apache-2.0

/**
 * Runs a kubelet with an API server on podrt, and what a node goes through in its life. They have namespaces of their own for the
 * network, with one address and no way out, and for mounts: the kubelet and containerd keep some things at places of
 * their own below /var and /run, whatever their configuration says.
 *
 * usage: [PEER=containerd] [EVENTED=1] [PROBES=110] bun test/kubelet/run.ts [NAME]
 *   NAME     runs only the tests whose names match
 *   PEER     runs them on another runtime, to compare podrt with
 *   EVENTED  lets the kubelet hear of its containers by the runtime's events (feature gate EventedPLEG)
 *   PROBES   measures so many pods with an exec probe each second instead
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";
import { nodeAddress } from "./cluster.ts";

if (process.getuid?.() !== 0) {
  console.error("make kubelet: needs root, as every container runtime does");
  process.exit(1);
}
const needed = ["etcd", "kube-apiserver", "kubectl", "kubelet", "crictl"];
if (process.env["PEER"]) needed.push("containerd", "containerd-shim-runc-v2");
const missing = needed.filter((name) => !existsSync(join(buildDir, "bin", name)));
if (missing.length > 0) {
  console.error(`make kubelet: without ${missing.join(" and ")} nothing is tested`);
  process.exit(1);
}
const machine = [
  // Copies of mounts of other instances: who cleans up after those ends whatever still sees one.
  "awk '$5 ~ \"^/tmp/\" { print $5 }' /proc/self/mountinfo | xargs -r umount -l",
  "ip link set lo up",
  "ip link add node0 type bridge",
  `ip address add ${nodeAddress}/24 dev node0`,
  "ip link set node0 up",
  "ip route add default dev node0",
  "mkdir -p /var/lib/kubelet /var/lib/cni",
  ...["/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni"].map((path) => `mount -t tmpfs tmpfs ${path}`),
  'exec "$@"',
].join(" && ");
const { PROBES } = process.env;
const names = process.argv.slice(2).flatMap((name) => ["--test-name-pattern", name]);
const tests = ["test", "--timeout=600000", ...names, "./test/kubelet/pods.ts", "./test/kubelet/life.ts"];
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
