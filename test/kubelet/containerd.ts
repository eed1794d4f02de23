// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDir, packagedFile } from "../fixtures/images/packages.ts";
import { outputOf, runCommand } from "../integration/harness/command.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { allPids, isAlive, procText } from "../integration/harness/proc.ts";
import { bridgeNetwork, leasesIn, pluginsDir } from "./plugin-network.ts";
import { type RunningProgram, startProgram } from "./program.ts";
import type { Runtime } from "./runtime.ts";
import { unmountBelow } from "./unmount.ts";

const startTimeoutMs = 60_000;
const bridge = "peer0";

/** containerd with Debian's runc and network plugins, in a directory of its own, to compare podrt with. */
export async function startContainerd(mirror: string): Promise<Runtime> {
  const dir = mkdtempSync(join(tmpdir(), "podrt-peer-"));
  const socket = join(dir, "state/containerd.sock");
  const config = writeConfiguration(dir, socket, mirror);
  const binDir = join(buildDir, "bin");
  let program: RunningProgram | undefined;
  const crictl = ["--config=/dev/null", `--runtime-endpoint=unix://${socket}`, "--timeout=30s"];
  const askCrictl = (...args: readonly string[]) => outputOf(join(binDir, "crictl"), [...crictl, ...args]);
  const start = async () => {
    // It finds its shim by PATH, and the network plugins find iptables there.
    const environment = { PATH: `${binDir}:/usr/sbin:/usr/bin:/sbin:/bin` };
    program = startProgram(join(binDir, "containerd"), ["--config", config], dir, environment);
    try {
      await eventually("containerd answers on its socket", () => askCrictl("version"), startTimeoutMs);
    } catch (error) {
      throw new Error(`${error}\n${program.said()}`);
    }
  };
  const kill = async () => {
    await program?.stop("SIGKILL");
    program = undefined;
  };
  const endProcesses = async (pids: readonly number[]) => {
    for (const pid of pids.filter(isAlive)) process.kill(pid, "SIGKILL");
    await eventually("the pods' processes have ended", () => !pids.some(isAlive), startTimeoutMs);
  };
  const close = async () => {
    if (program !== undefined) await askCrictl("rmp", "--all", "--force");
    await program?.stop();
    await endProcesses(shims(dir));
    await unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await kill();
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return {
    name: "containerd",
    socket,
    pid: () => program?.pid ?? 0,
    kill,
    start,
    async reboot(pids) {
      await kill();
      await endProcesses([...shims(dir), ...pids]);
      await unmountBelow(join(dir, "state"));
      rmSync(join(dir, "state"), { recursive: true });
      rmSync("/run/containerd", { recursive: true, force: true });
      await runCommand("ip", ["link", "delete", bridge]);
      await start();
    },
    leases: async () => leasesIn(join(dir, "state/leases")),
    close,
  };
}

/** Its configuration, certs.d and CNI configuration; answers the path of the first. */
function writeConfiguration(dir: string, socket: string, mirror: string): string {
  // Leases of before a reboot are gone in time when they are kept where /run is.
  const network = bridgeNetwork({ bridge, leasesDir: join(dir, "state/leases"), subnet: "10.127.0.0/20" });
  const write = (path: string, content: string) => {
    const file = join(dir, path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, content);
    return file;
  };
  write("cni/10-peer.conflist", JSON.stringify(network));
  write("certs.d/_default/hosts.toml", `[host."http://${mirror}"]\ncapabilities = ["pull", "resolve"]\n`);
  return write(
    "config.toml",
    `version = 3
root = ${JSON.stringify(join(dir, "root"))}
state = ${JSON.stringify(join(dir, "state"))}
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
address = ${JSON.stringify(socket)}
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "registry.k8s.io/pause:3.9"
[plugins."io.containerd.cri.v1.images".registry]
config_path = ${JSON.stringify(join(dir, "certs.d"))}
[plugins."io.containerd.cri.v1.runtime"]
netns_mounts_under_state_dir = true
# Without it no pod starts where root has no CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
enable_unprivileged_ports = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [${JSON.stringify(pluginsDir)}]
conf_dir = ${JSON.stringify(join(dir, "cni"))}
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = ${JSON.stringify(packagedFile("runc", "/usr/sbin/runc"))}
SystemdCgroup = false
`,
  );
}

/** The processes that watch over its containers and outlive it; they are told its socket. */
export function shims(dir: string): number[] {
  return allPids().filter((pid) => {
    const command = procText(`/proc/${pid}/cmdline`);
    return command.includes("containerd-shim-runc-v2") && command.includes(`${dir}/`);
  });
}
