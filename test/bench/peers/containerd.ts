// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDir } from "../../fixtures/images/packages.ts";
import { outputOf, runCommand } from "../../integration/harness/command.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import { isAlive } from "../../integration/harness/proc.ts";
import { bridgeNetwork, shims } from "../../kubelet/containerd.ts";
import { type RunningProgram, startProgram } from "../../kubelet/program.ts";
import { unmountBelow } from "../../kubelet/unmount.ts";
import { newControlGroup } from "../control-group.ts";
import { grpcApi, type Peer, type PeerOptions, removeAllPods } from "./peer.ts";

const startTimeoutMs = 60_000;
/** Where `scripts/fetch-cni-plugins.sh` unpacks the network plugins. */
export const pluginDir = join(buildDir, "packages/cni/root/usr/lib/cni");
const subnets = { runc: "10.126.0.0/20", crun: "10.126.16.0/20" } as const;
/** crun's first releases refuse machines that have cgroup v2 beside v1. */
const hybrid = "/sys/fs/cgroup/unified";

/** Its shims put their sockets there, whatever it is told. */
const shimSockets = "/run/containerd";

export type LowLevelRuntime = keyof typeof subnets;

/** Debian's containerd, or the one in the directory that CONTAINERD names; undefined where it is not to be had. */
export async function startContainerd(
  runtime: LowLevelRuntime,
  options: PeerOptions,
): Promise<Peer | undefined> {
  const binDir = process.env["CONTAINERD"] || join(buildDir, "peers/root/usr/bin");
  const runtimePath = Bun.which(runtime);
  if (runtimePath === null || !existsSync(join(binDir, "containerd")) || !existsSync(pluginDir)) return;
  const dir = mkdtempSync(join(tmpdir(), `podrt-bench-${runtime}-`));
  const isFirst = !existsSync(shimSockets);
  const bridge = `bench-${runtime}`;
  const socket = join(dir, "state/containerd.sock");
  const config = writeConfiguration({ ...options, dir, socket, runtimePath, runtime, bridge });
  const group = newControlGroup(`containerd-${runtime}`);
  const alone =
    runtime === "crun" && existsSync(hybrid)
      ? ["unshare", "--mount", "sh", "-c", `umount ${hybrid} && exec "$0" "$@"`]
      : [];
  const launcher = group.launcher(dir, [...alone, join(binDir, "containerd")]);
  const api = grpcApi(socket);
  let program: RunningProgram | undefined;
  const start = async () => {
    // It finds its shim by PATH, and the network plugins find iptables there.
    const environment = { PATH: `${binDir}:/usr/sbin:/usr/bin:/sbin:/bin` };
    const started = startProgram(launcher, ["--config", config], dir, environment);
    program = started;
    const answers = async () => (await api.version({})).runtimeName !== "";
    await eventually("containerd answers on its socket", answers, startTimeoutMs).catch((error) => {
      throw new Error(`${error}\n${started.said()}`);
    });
  };
  const close = async () => {
    if (program !== undefined) await removeAllPods({ api });
    await program?.stop();
    const left = [...shims(dir), ...group.pids()];
    for (const pid of left.filter(isAlive)) process.kill(pid, "SIGKILL");
    await eventually("its processes have ended", () => !left.some(isAlive), startTimeoutMs);
    await unmountBelow(dir);
    await runCommand("ip", ["link", "delete", bridge]);
    await group.remove();
    rmSync(dir, { recursive: true, force: true });
    if (isFirst) rmSync(shimSockets, { recursive: true, force: true });
  };
  try {
    await start();
    const { runtimeVersion } = await api.version({});
    const runtimeLine = (await outputOf(runtimePath, ["--version"])).split("\n")[0]!;
    return {
      name: `containerd+${runtime}`,
      version: `containerd ${runtimeVersion}, ${runtimeLine.replace(" version", "")}`,
      api,
      group,
      dir,
      webSocketProtocol: "v4.channel.k8s.io",
      pid: () => program?.pid ?? 0,
      async importImage(file) {
        const endpoint = ["--address", socket, "--namespace", "k8s.io"];
        await outputOf(join(binDir, "ctr"), [...endpoint, "images", "import", file], { timeoutMs: 300_000 });
      },
      async kill() {
        await program?.stop("SIGKILL");
        program = undefined;
      },
      start,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Configuration extends PeerOptions {
  readonly dir: string;
  readonly socket: string;
  readonly runtime: LowLevelRuntime;
  readonly runtimePath: string;
  readonly bridge: string;
}

/** Its configuration, certs.d and CNI configuration; answers the path of the first, which 1.6 and 2.x read. */
function writeConfiguration(options: Configuration): string {
  const { dir, socket, runtime, runtimePath, bridge, mirror, registries } = options;
  const write = (path: string, content: string) => {
    const file = join(dir, path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, content);
    return file;
  };
  const leasesDir = join(dir, "state/leases");
  const network = bridgeNetwork({ name: bridge, bridge, subnet: subnets[runtime], leasesDir });
  write("cni/10-bench.conflist", JSON.stringify(network));
  const hosts = (host: string) => `[host."http://${host}"]\ncapabilities = ["pull", "resolve"]\n`;
  write("certs.d/_default/hosts.toml", hosts(mirror));
  for (const [host, address] of Object.entries(registries))
    write(`certs.d/${host}/hosts.toml`, hosts(address));
  const unused = [
    "snapshotter.v1.aufs",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs",
  ];
  const disabled = [...unused, "snapshotter.v1.native", "internal.v1.opt", "nri.v1.nri"];
  return write(
    "config.toml",
    `version = 2
root = ${JSON.stringify(join(dir, "root"))}
state = ${JSON.stringify(join(dir, "state"))}
disabled_plugins = ${JSON.stringify(disabled.map((name) => `io.containerd.${name}`))}
[grpc]
address = ${JSON.stringify(socket)}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "registry.k8s.io/pause:3.9"
netns_mounts_under_state_dir = true
# Without it no pod starts where root has no CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
enable_unprivileged_ports = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = ${JSON.stringify(pluginDir)}
conf_dir = ${JSON.stringify(join(dir, "cni"))}
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = ${JSON.stringify(join(dir, "certs.d"))}
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "bench"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.bench]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.bench.options]
BinaryName = ${JSON.stringify(runtimePath)}
Root = ${JSON.stringify(join(dir, "state/runtime"))}
SystemdCgroup = false
`,
  );
}
