// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDir } from "../../fixtures/images/packages.ts";
import { outputOf } from "../../integration/harness/command.ts";
import type { Peer, PeerOptions } from "./peer.ts";
import { pluginDir, startPeerDaemon, unpackedDir, writeBelow, writeNetwork } from "./peer-daemon.ts";
import { homeOfContainers, storageConf } from "./podman.ts";

const subnet = "10.126.32.0/20";

/** CRI-O with runc, as `scripts/build-crio.sh` builds it; undefined where it could not be built. */
export async function startCrio(
  options: PeerOptions,
  runc: string | null = Bun.which("runc"),
): Promise<Peer | undefined> {
  const binDir = join(buildDir, "bin");
  const conmon = join(unpackedDir, "bin/conmon");
  if (runc === null || ![join(binDir, "crio"), conmon, pluginDir].every((path) => existsSync(path))) return;
  const dir = mkdtempSync(join(tmpdir(), "podrt-bench-crio-"));
  const socket = join(dir, "crio.sock");
  const config = writeConfiguration({ ...options, dir, socket, binDir, conmon, runc });
  const daemon = await startPeerDaemon({
    name: "crio",
    dir,
    socket,
    command: [join(binDir, "crio"), "--config", config, "--config-dir", ""],
    environment: {
      PATH: `${binDir}:${join(unpackedDir, "bin")}:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: homeOfContainers(dir, options),
      CONTAINERS_STORAGE_CONF: writeBelow(dir, "storage.conf", storageConf(dir)),
    },
    helpers: () => [],
  });
  const { runtimeVersion } = await daemon.api.version({});
  const runcLine = (await outputOf(runc, ["--version"])).split("\n")[0]!;
  return {
    ...daemon,
    name: "CRI-O",
    version: `CRI-O ${runtimeVersion}, ${runcLine.replace(" version", "")}`,
    webSocketProtocol: "v4.channel.k8s.io",
    importImage: undefined,
  };
}

interface Configuration {
  readonly dir: string;
  readonly socket: string;
  readonly binDir: string;
  readonly conmon: string;
  readonly runc: string;
  readonly sandboxImage?: string;
}

/** Everything that it would keep or look for elsewhere on the machine is named. */
function writeConfiguration({ dir, socket, binDir, conmon, runc, sandboxImage }: Configuration): string {
  const text = (value: string) => JSON.stringify(value);
  const below = (path: string) => text(join(dir, path));
  const network = writeNetwork(dir, "crio", subnet);
  return writeBelow(
    dir,
    "crio.conf",
    `[crio]
root = ${below("root")}
runroot = ${below("run")}
imagestore = ""
storage_driver = "overlay"
log_dir = ${below("log")}
version_file = ${below("version")}
version_file_persist = ""
clean_shutdown_file = ${below("clean")}
internal_wipe = false
[crio.api]
listen = ${text(socket)}
stream_address = "127.0.0.1"
stream_port = "0"
[crio.runtime]
default_runtime = "runc"
cgroup_manager = "cgroupfs"
pinns_path = ${text(join(binDir, "pinns"))}
namespaces_dir = ${below("namespaces")}
container_exits_dir = ${below("exits")}
container_attach_socket_dir = ${below("attach")}
hooks_dir = []
default_mounts_file = ""
selinux = false
enable_criu_support = false
[crio.runtime.runtimes.runc]
runtime_path = ${text(runc)}
runtime_type = "oci"
runtime_root = ${below("runtime")}
monitor_path = ${text(conmon)}
monitor_cgroup = "pod"
[crio.image]
pause_image = ${text(sandboxImage ?? "registry.k8s.io/pause:3.9")}
[crio.network]
network_dir = ${text(network)}
plugin_dirs = [${text(pluginDir)}]
[crio.nri]
enable_nri = false
[crio.metrics]
enable_metrics = false
`,
  );
}
