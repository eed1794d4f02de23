// SPDX-License-Identifier: Apache-2.0
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { buildDir } from "../../test/fixtures/images/packages.ts";
import { startImageRegistry } from "../../test/fixtures/images/prepare.ts";
import { binary, crictlBinary, type Daemon, startDaemon } from "../../test/integration/harness/daemon.ts";
import { forceAway } from "../../test/integration/harness/force-away.ts";
import { takeBaseline } from "../../test/integration/harness/leftovers.ts";
import type { Page } from "./page.ts";

/** The daemon of the demo with the registry it pulls from. */
export interface Demo {
  readonly binary: string;
  readonly crictl: string;
  readonly root: string;
  readonly socket: string;
  readonly logFile: string;
  readonly daemon: Daemon;
  /** The process to end when the demo is kept. */
  readonly registryPid: number | undefined;
  removePods(): Promise<void>;
  leftovers(): Promise<string[]>;
  /** Removes the pods and ends the daemon and the registry. */
  stop(): Promise<void>;
}

const root = join(buildDir, "demo");
const hub = "https://registry-1.docker.io/v2/";
/** What docker.io is given to answer before the images are made here. */
const hubTimeoutMs = 3000;

/** Starts podrt on a directory of its own, with real images if docker.io answers, else with ones made here. */
export async function startDemo(page: Page): Promise<Demo> {
  page.title("podrt serves");
  // A demo that was interrupted may have left its pods.
  await forceAway(root, { ...(await takeBaseline()), links: [] });
  mkdirSync(root, { recursive: true });
  const isOnline = await answers(hub);
  const registry = isOnline ? undefined : await startImageRegistry();
  if (registry === undefined) {
    page.note("docker.io answers: nginx and busybox are pulled from there.");
  } else {
    page.note("docker.io does not answer from here, so nginx and busybox were made from the distribution's");
    page.note(`packages, and a registry on ${registry.host} serves them as docker.io's mirror.`);
  }
  const daemon = await startDaemon({ root, ...(registry === undefined ? {} : { mirror: registry.host }) });
  page.command(`podrt serve --root ${root}`);
  page.output(`pid ${daemon.pid()}, socket ${daemon.socket}`);
  return {
    binary,
    crictl: crictlBinary,
    root,
    socket: daemon.socket,
    logFile: join(root, "daemon.log"),
    daemon,
    registryPid: registry?.pid,
    removePods: daemon.removeEverything,
    leftovers: daemon.leftovers,
    async stop() {
      await daemon.close();
      await registry?.[Symbol.asyncDispose]();
    },
  };
}

/** Any answer of the registry will do: it asks everybody for a token first. */
async function answers(url: string): Promise<boolean> {
  try {
    const { status } = await fetch(url, { signal: AbortSignal.timeout(hubTimeoutMs), redirect: "manual" });
    return status === 200 || status === 401;
  } catch {
    return false;
  }
}
