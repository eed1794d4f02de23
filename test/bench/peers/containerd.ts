// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf } from "../../integration/harness/command.ts";
import { shims } from "../../kubelet/containerd.ts";
import type { Peer, PeerOptions } from "./peer.ts";
import { pluginDir, startPeerDaemon, unpackedDir, writeBelow, writeNetwork } from "./peer-daemon.ts";

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
  const binDir = process.env["CONTAINERD"] || join(unpackedDir, "bin");
  const runtimePath = Bun.which(runtime);
  if (runtimePath === null || !existsSync(join(binDir, "containerd")) || !existsSync(pluginDir)) return;
  const dir = mkdtempSync(join(tmpdir(), `podrt-bench-${runtime}-`));
  const isFirst = !existsSync(shimSockets);
  const socket = join(dir, "state/containerd.sock");
  const config = writeConfiguration({ ...options, dir, socket, runtimePath, runtime });
  const alone =
    runtime === "crun" && existsSync(hybrid)
      ? ["unshare", "--mount", "sh", "-c", `umount ${hybrid} && exec "$0" "$@"`]
      : [];
  const daemon = await startPeerDaemon({
    name: `cd-${runtime}`,
    dir,
    socket,
    command: [...alone, join(binDir, "containerd"), "--config", config],
    // It finds its shim by PATH, and the network plugins find iptables there.
    environment: { PATH: `${binDir}:/usr/sbin:/usr/bin:/sbin:/bin` },
    helpers: () => shims(dir),
  });
  const { runtimeVersion } = await daemon.api.version({});
  const runtimeLine = (await outputOf(runtimePath, ["--version"])).split("\n")[0]!;
  return {
    ...daemon,
    name: `containerd+${runtime}`,
    version: `containerd ${runtimeVersion}, ${runtimeLine.replace(" version", "")}`,
    webSocketProtocol: "v4.channel.k8s.io",
    async importImage(file) {
      const endpoint = ["--address", socket, "--namespace", "k8s.io"];
      await outputOf(join(binDir, "ctr"), [...endpoint, "images", "import", file], { timeoutMs: 300_000 });
    },
    async close() {
      await daemon.close();
      if (isFirst) rmSync(shimSockets, { recursive: true, force: true });
    },
  };
}

interface Configuration extends PeerOptions {
  readonly dir: string;
  readonly socket: string;
  readonly runtime: LowLevelRuntime;
  readonly runtimePath: string;
}

/** Its configuration, certs.d and CNI configuration; answers the path of the first, which 1.6 and 2.x read. */
function writeConfiguration(options: Configuration): string {
  const { dir, socket, runtime, runtimePath, mirror, registries } = options;
  const sandboxImage = options.sandboxImage ?? "registry.k8s.io/pause:3.9";
  const network = writeNetwork(dir, `cd-${runtime}`, subnets[runtime]);
  for (const [host, address] of Object.entries({ _default: mirror, ...registries })) {
    const content = `[host."http://${address}"]\ncapabilities = ["pull", "resolve"]\n`;
    writeBelow(dir, `certs.d/${host}/hosts.toml`, content);
  }
  const snapshotters = ["aufs", "btrfs", "devmapper", "native", "zfs"].map(
    (name) => `snapshotter.v1.${name}`,
  );
  const disabled = [...snapshotters, "internal.v1.opt", "nri.v1.nri"].map((name) => `io.containerd.${name}`);
  return writeBelow(
    dir,
    "config.toml",
    `version = 2
root = ${JSON.stringify(join(dir, "root"))}
state = ${JSON.stringify(join(dir, "state"))}
disabled_plugins = ${JSON.stringify(disabled)}
[grpc]
address = ${JSON.stringify(socket)}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ${JSON.stringify(sandboxImage)}
netns_mounts_under_state_dir = true
# Without it no pod starts where root has no CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
enable_unprivileged_ports = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = ${JSON.stringify(pluginDir)}
conf_dir = ${JSON.stringify(network)}
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
