// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf } from "../../integration/harness/command.ts";
import { binary, startDaemon } from "../../integration/harness/daemon.ts";
import { newControlGroup } from "../control-group.ts";
import { grpcApi, type Peer, type PeerOptions } from "./peer.ts";

export interface PodrtPeer extends Peer {
  readonly root: string;
  /** Runs a command of the same program: the command's name first. */
  command(...args: readonly string[]): Promise<string>;
}

/** The compiled podrt of this tree; `more` of its configuration may be given. */
export async function startPodrt({ mirror, registries }: PeerOptions, more = ""): Promise<PodrtPeer> {
  const dir = mkdtempSync(join(tmpdir(), "podrt-bench-own-"));
  const group = newControlGroup(`podrt-${dir.slice(-6)}`);
  const program = { path: group.launcher(dir, [binary]) };
  const tables = Object.entries(registries).map(
    ([host, address]) => `[registries."${host}"]\nmirrors = ["http://${address}"]\n`,
  );
  const config = tables.join("") + more;
  const daemon = await startDaemon({ mirror, program, config });
  const command = ([name, ...args]: readonly string[]) =>
    outputOf(binary, [name!, "--root", daemon.root, ...args]);
  return {
    root: daemon.root,
    command: (...args) => command(args),
    name: "podrt",
    version: (await outputOf(binary, ["--version"])).trim(),
    api: grpcApi(daemon.socket),
    group,
    dir,
    webSocketProtocol: "v5.channel.k8s.io",
    pid: daemon.pid,
    importImage: async (file) => void (await command(["import", file])),
    kill: daemon.kill,
    start: () => daemon.start(),
    async close() {
      await daemon.close();
      await group.remove();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
