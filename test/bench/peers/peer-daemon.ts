// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDir } from "../../fixtures/images/packages.ts";
import { runCommand } from "../../integration/harness/command.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import { isAlive } from "../../integration/harness/proc.ts";
import { bridgeNetwork } from "../../kubelet/plugin-network.ts";
import { type RunningProgram, startProgram } from "../../kubelet/program.ts";
import { unmountBelow } from "../../kubelet/unmount.ts";
import { newControlGroup } from "../control-group.ts";
import { grpcApi, type Peer, removeAllPods } from "./peer.ts";

const startTimeoutMs = 60_000;
/** Where `scripts/fetch-peers.sh` and `scripts/fetch-cni-plugins.sh` unpack what is not installed. */
export const unpackedDir = join(buildDir, "peers/root/usr");
export const pluginDir = join(buildDir, "packages/cni/root/usr/lib/cni");

/** A daemon of others, which is started in a control group and a directory of its own. */
export interface PeerDaemonOptions {
  /** Of its control group and its bridge. */
  readonly name: string;
  readonly dir: string;
  /** The words of its command line. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly socket: string;
  /** What outlives it beside its pods. */
  readonly helpers: () => readonly number[];
}

export type PeerDaemon = Pick<Peer, "api" | "group" | "dir" | "pid" | "kill" | "start" | "close">;

/** Answers when the daemon does. */
export async function startPeerDaemon(options: PeerDaemonOptions): Promise<PeerDaemon> {
  const { name, dir, command, environment, socket, helpers } = options;
  const group = newControlGroup(name);
  const launcher = group.launcher(dir, command);
  const api = grpcApi(socket);
  let program: RunningProgram | undefined;
  const daemon: PeerDaemon = {
    api,
    group,
    dir,
    pid: () => program?.pid ?? 0,
    async start() {
      const started = startProgram(launcher, [], dir, environment);
      program = started;
      const answers = async () => !isAlive(started.pid) || (await api.version({})).runtimeName !== "";
      await eventually(`${name} answers on its socket`, answers, startTimeoutMs).catch((error) => {
        throw new Error(`${error}\n${started.said()}`);
      });
      if (!isAlive(started.pid)) throw new Error(`${name} ended at once: ${started.said()}`);
    },
    async kill() {
      await program?.stop("SIGKILL");
      program = undefined;
    },
    async close() {
      try {
        if (program !== undefined) await removeAllPods({ api });
      } finally {
        await program?.stop();
        const left = [...helpers(), ...group.pids()];
        for (const pid of left.filter(isAlive)) process.kill(pid, "SIGKILL");
        await eventually("its processes have ended", () => !left.some(isAlive), startTimeoutMs);
        await unmountBelow(dir);
        await runCommand("ip", ["link", "delete", bridgeOf(name)]);
        await group.remove();
        rmSync(dir, { recursive: true, force: true });
      }
    },
  };
  try {
    await daemon.start();
  } catch (error) {
    await daemon.kill();
    await daemon.close();
    throw error;
  }
  return daemon;
}

const bridgeOf = (name: string) => `bench-${name}`.slice(0, 15);

/** Writes the configuration of a network of plugins, and answers its directory. */
export function writeNetwork(dir: string, name: string, subnet: string): string {
  const leasesDir = join(dir, "leases");
  const network = bridgeNetwork({ name: bridgeOf(name), bridge: bridgeOf(name), subnet, leasesDir });
  writeBelow(dir, "cni/10-bench.conflist", JSON.stringify(network));
  return join(dir, "cni");
}

/** Answers the path of the file. */
export function writeBelow(dir: string, path: string, content: string): string {
  const file = join(dir, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, content);
  return file;
}
