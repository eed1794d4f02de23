// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeImageFiles } from "../fixtures/images/archives.ts";
import { prepareImages, startImageRegistry } from "../fixtures/images/prepare.ts";
import { type Daemon, startDaemon } from "../integration/harness/daemon.ts";
import { procLink } from "../integration/harness/proc.ts";
import { buildSweepBinary } from "./build.ts";
import { CONTROL_VARIABLE, type Control, newControl } from "./control.ts";
import { pluginDirectory } from "./network-plugin.ts";

/** A daemon built for the sweeps, with a registry of its own and the switch that lets it die or fail. */
export interface SweptDaemon {
  readonly daemon: Daemon;
  readonly control: Control;
  /** An image in a file, which is to be imported as `docker.io/podrt/volume-content:latest`. */
  readonly archive: string;
  /** How many files and pipes the daemon has open; sockets and event queues come and go with its threads. */
  descriptors(): number;
  /** Fails when anything of the daemon is left on the machine. */
  close(): Promise<void>;
}

export async function startSweptDaemon(): Promise<SweptDaemon> {
  const path = await buildSweepBinary();
  await using opened = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "podrt-sweep-"));
  opened.defer(() => rmSync(directory, { recursive: true, force: true }));
  const registry = opened.use(await startImageRegistry());
  const control = newControl(join(directory, "control"));
  const { layoutDir } = await prepareImages();
  const { ociArchive } = writeImageFiles(
    layoutDir,
    "podrt/volume-content:latest",
    join(directory, "archive"),
  );
  const program = { path, environment: { [CONTROL_VARIABLE]: control.path } };
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  const network = `cni_plugin_dirs = ["${pluginDirectory(root)}"]`;
  const daemon = await startDaemon({ mirror: registry.host, program, root, network, subnets: "both" });
  opened.defer(() => daemon.close());
  const owned = opened.move();
  return {
    daemon,
    control,
    archive: ociArchive,
    descriptors() {
      const dir = `/proc/${daemon.pid()}/fd`;
      return readdirSync(dir).filter((fd) => !/^(socket|anon_inode):|^$/.test(procLink(`${dir}/${fd}`)))
        .length;
    },
    async close() {
      control.disarm();
      await owned.disposeAsync();
    },
  };
}
