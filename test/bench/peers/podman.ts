// SPDX-License-Identifier: Apache-2.0
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandResult, outputOf, runCommand } from "../../integration/harness/command.ts";
import { unmountBelow } from "../../kubelet/unmount.ts";
import type { PeerOptions } from "./peer.ts";
import { pluginDir, unpackedDir, writeBelow, writeNetwork } from "./peer-daemon.ts";

/** podman with everything that it keeps in a directory of its own. */
export interface Podman {
  readonly version: string;
  /** Runs a command of it that must succeed. */
  podman(...args: readonly string[]): Promise<string>;
  result(...args: readonly string[]): Promise<CommandResult>;
  close(): Promise<void>;
}

const subnet = "10.126.48.0/20";

/** Debian's podman; undefined where it is not to be had. */
export async function openPodman(options: PeerOptions): Promise<Podman | undefined> {
  const program = join(unpackedDir, "bin/podman");
  const runtime = Bun.which("runc");
  if (runtime === null || !existsSync(program) || !existsSync(pluginDir)) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "podrt-bench-podman-"));
  const network = writeNetwork(dir, "podman", subnet);
  const text = (value: string) => JSON.stringify(value);
  const configuration = writeBelow(
    dir,
    "containers.conf",
    `[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = [${text(join(unpackedDir, "bin/conmon"))}]
infra_image = "registry.k8s.io/pause:3.9"
static_dir = ${text(join(dir, "static"))}
volume_path = ${text(join(dir, "volumes"))}
[engine.runtimes]
runc = [${text(limitedRuntime(dir, runtime))}]
[network]
network_backend = "cni"
default_network = "bench-podman"
network_config_dir = ${text(network)}
cni_plugin_dirs = [${text(pluginDir)}]
`,
  );
  const env = {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: homeOfContainers(dir, options),
    LD_LIBRARY_PATH: join(unpackedDir, "lib/x86_64-linux-gnu"),
    CONTAINERS_CONF: configuration,
    CONTAINERS_STORAGE_CONF: writeBelow(dir, "storage.conf", storageConf(dir)),
  };
  const words = ["--tmpdir", join(dir, "tmp"), "--log-level", "error"];
  const result = (...args: readonly string[]) => runCommand(program, [...words, ...args], { env });
  const podman = (...args: readonly string[]) => outputOf(program, [...words, ...args], { env });
  return {
    version: (await podman("--version")).trim().replace(" version", ""),
    podman,
    result,
    async close() {
      await result("pod", "rm", "--all", "--force", "--time", "0");
      await unmountBelow(dir);
      await runCommand("ip", ["link", "delete", "bench-podman"]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** What podman wants every container to have, which root may not give where it lacks CAP_SYS_RESOURCE. */
const wantedFiles = 1_048_576;

/** The runtime, or a script around it that takes the limits away that cannot be set; it costs some milliseconds. */
function limitedRuntime(dir: string, runtime: string): string {
  const hard = /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  if (Number(hard) >= wantedFiles) return runtime;
  const script = `#!/bin/sh
previous=
for word; do
  [ "$previous" != --bundle ] || sed -i 's/"rlimits":\\[[^]]*]/"rlimits":[]/' "$word/config.json"
  previous=$word
done
exec ${runtime} "$@"
`;
  const file = writeBelow(dir, "runc", script);
  chmodSync(file, 0o755);
  return file;
}

/** containers-storage.conf(5): everything below the directory. */
export function storageConf(dir: string): string {
  const [root, run] = [join(dir, "root"), join(dir, "run")].map((path) => JSON.stringify(path));
  return `[storage]\ndriver = "overlay"\ngraphroot = ${root}\nrunroot = ${run}\n`;
}

/** A home directory with what podman and CRI-O look for there before they do in /etc. */
export function homeOfContainers(dir: string, options: PeerOptions): string {
  writeBelow(dir, ".config/containers/registries.conf", registriesConf(options));
  const policy = '{"default":[{"type":"insecureAcceptAnything"}]}';
  writeBelow(dir, ".config/containers/policy.json", policy);
  return dir;
}

/** registries.conf(5) of version 2: the registries of the tests' images are all in one place, others where it says. */
function registriesConf({ mirror, registries }: PeerOptions): string {
  const mirrored = ["docker.io", "registry.k8s.io"].map((host) => [host, mirror] as const);
  const tables = [...mirrored, ...Object.entries(registries)].map(
    ([host, address]) => `[[registry]]
prefix = "${host}"
location = "${host}"
[[registry.mirror]]
location = "${address}"
insecure = true
`,
  );
  return `unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n${tables.join("")}`;
}
