// SPDX-License-Identifier: Apache-2.0
import { mkdirSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Config, loadConfig } from "../config.ts";
import { handlerNames } from "../container/oci/handler.ts";
import { NO_PLUGINS } from "../container/plugins.ts";
import type { Runtime } from "../container/runtime.ts";
import { openSecurityModules } from "../container/security/security-modules.ts";
import { openEventFeed } from "../cri/event-feed.ts";
import { openEventLog } from "../cri/podrt/event-log.ts";
import { podrtRoutes } from "../cri/podrt/routes.ts";
import { criRoutes } from "../cri/routes.ts";
import { serveCri } from "../cri/server.ts";
import { debugDump } from "../debug/dump.ts";
import { FailedPreconditionError, messageOf, PermissionDeniedError } from "../errors.ts";
import { addBuiltInPause } from "../image/built-in-pause.ts";
import { openCronJobs } from "../kube/cron-jobs.ts";
import { startKeeper } from "../kube/keeper.ts";
import { openPods } from "../kube/pod-record.ts";
import { withDeadline } from "../lib/deadline.ts";
import { configureLog, logger } from "../lib/logger.ts";
import { O_CREAT, O_RDWR } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { spreadTrees } from "../linux/inode-flags.ts";
import { isErrno, syscall } from "../linux/syscall.ts";
import { type Paths, pathsFor } from "../paths.ts";
import { recover } from "../recover.ts";
import { openState } from "../state/open-state.ts";
import type { Table } from "../state/table.ts";
import { daemonReadings } from "../stats/daemon-readings.ts";
import { streamingBackend } from "../streaming/backend.ts";
import { startStreamingServer } from "../streaming/server.ts";
import { daemonFamilies } from "../telemetry/daemon-families.ts";
import { serveMetrics } from "../telemetry/metrics-server.ts";
import { measureEventLoop, processFamilies } from "../telemetry/process-families.ts";
import type { Family } from "../telemetry/registry.ts";
import { startTracing } from "../telemetry/tracing.ts";
import { collectBetweenStarts } from "./collect-garbage.ts";
import { checkKernel } from "./kernel-check.ts";
import { openRuntime } from "./open-runtime.ts";
import { connectServiceManager } from "./service-manager.ts";

/** What `podrt serve` is told on its command line. */
export interface ServeOptions {
  readonly root?: string | undefined;
  readonly config?: string | undefined;
}

/** Whoever had subscribed before the daemon was restarted is back within this, and misses nothing. */
const FIRST_SUBSCRIBER_MS = 60_000;
/** How long a stop waits for the kernel to take down the interfaces of pods that have gone. */
const SETTLE_MS = 2_000;

/** Runs the daemon until SIGTERM or SIGINT; the pods go on without it. Resolves with the exit code. */
export async function serve(options: ServeOptions): Promise<number> {
  if (process.geteuid?.() !== 0) throw new PermissionDeniedError("podrt serve has to run as root");
  checkKernel();
  const paths = pathsFor(options.root);
  const config = loadConfig(paths, options.config ?? paths.configFile);
  configureLog(config.log);
  makeDirectories(paths);
  using _lock = lockInstance(paths);
  const serviceManager = connectServiceManager(process.env, paths.socket);
  const tracing = await startTracing(process.env);
  const state = openState(paths);
  const securityModules = await openSecurityModules(logger);
  const nri = config.nri.enabled ? new (await import("../nri/plugins.ts")).NriPlugins() : undefined;
  const { runtime, settings, close } = openRuntime(paths, config, state, {
    securityModules,
    plugins: nri ?? NO_PLUGINS,
  });
  const events = openEventFeed(runtime);
  const stopKeeping = events.keepForFirst();
  const eventLog = openEventLog(runtime);
  collectBetweenStarts(runtime.events);
  await recover(runtime);
  // The first start writes it to the disk, for which only those wait who ask for images.
  const ownImages = addBuiltInPause(runtime.images, runtime.content).catch((err) =>
    logger.warn({ err }, "the built-in pause is not listed as an image; pods have it all the same"),
  );
  await nri?.listen(runtime);
  const streaming = await startStreamingServer({ ...config.streaming, backend: streamingBackend(runtime) });
  const families = [...daemonFamilies, ...daemonReadings(runtime, streaming.connections), ...processFamilies];
  const metrics = await startMetrics(config, families);
  const dump = () => debugDump(paths, config, { families });
  process.on("SIGUSR1", () => void writeDump(paths, dump));
  const keeper = startKeeper(
    runtime,
    openPods(state.database, state.putAside),
    openCronJobs(state.database, state.putAside),
    eventLog.note,
    ownImages,
  );
  const server = await serveCri({
    socketPath: paths.socket,
    passedSocket: serviceManager.socket,
    handlers: handlerNames(runtime),
    routes: (router) => {
      criRoutes(runtime, streaming, events, ownImages)(router);
      podrtRoutes(runtime, keeper, eventLog, dump, ownImages)(router);
    },
  });
  logger.info({ socket: paths.socket, pid: process.pid }, "podrt serves");
  serviceManager.ready(`serving at ${paths.socket}`);
  setTimeout(stopKeeping, FIRST_SUBSCRIBER_MS).unref();
  void verifyImages(runtime, settings);
  const signalName = await stopSignal();
  serviceManager.stopping();
  logger.info({ signal: signalName }, "podrt stops; its pods go on");
  metrics?.close();
  await Promise.all([server.close(), streaming.close()]);
  await keeper.close();
  await ownImages;
  await tracing?.close();
  await nri?.close();
  await withDeadline(runtime.network.settled(), SETTLE_MS, "giving back the network of pods").catch((err) =>
    logger.warn({ err }, "the next start goes on"),
  );
  await close();
  state.database.close();
  return 0;
}

/** Prometheus is served where the configuration has a port for it. */
async function startMetrics(
  config: Config,
  families: readonly Family[],
): Promise<{ close(): void } | undefined> {
  const { address, port } = config.metrics;
  if (port === undefined) return undefined;
  const eventLoop = measureEventLoop();
  const server = await serveMetrics({ address, port }, [...families, eventLoop.family]);
  logger.info({ url: server.url }, "metrics are served");
  return {
    close() {
      eventLoop.stop();
      server.close();
    },
  };
}

/** Where a debug dump goes that SIGUSR1 asks for, as when the socket takes no more connections. */
async function writeDump(paths: Paths, dump: () => Promise<string>): Promise<void> {
  const file = join(paths.runDir, "debug.json");
  try {
    await writeFile(`${file}.new`, await dump(), { mode: 0o600 });
    await rename(`${file}.new`, file);
    logger.info({ file }, "a debug dump is written");
  } catch (err) {
    logger.error({ err, file }, "a debug dump could not be written");
  }
}

/** Boot in which the images were looked through last. */
const VERIFIED_BOOT = "images.verified_boot";

/** Looks through the images once in each boot, when a disk may have lost something; calls are served meanwhile. */
async function verifyImages({ images, bootId }: Runtime, settings: Table<unknown>): Promise<void> {
  if (settings.get(VERIFIED_BOOT) === bootId) return;
  try {
    await images.verify();
    settings.put(VERIFIED_BOOT, bootId);
  } catch (err) {
    logger.warn({ err }, "the images could not be looked through; the next start tries again");
  }
}

function makeDirectories(paths: Paths): void {
  for (const dir of [
    paths.stateDir,
    paths.blobsDir,
    paths.layersDir,
    paths.containersDir,
    paths.ingestDir,
    paths.checkpointsDir,
    paths.runDir,
    paths.podsDir,
    paths.rootMountPoint,
  ]) {
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    } catch (error) {
      const why = messageOf(error);
      throw new FailedPreconditionError(
        `cannot make ${dir}: ${why}; name a directory that can be written, with --root`,
        {
          cause: error,
        },
      );
    }
  }
  // Nothing on a tmpfs, as the machine's instance has it.
  spreadTrees(paths.podsDir);
}

/** One daemon per instance: two would undo each other's work. */
function lockInstance(paths: Paths): Disposable {
  const LOCK_EX_NB = 2 | 4;
  const file = open(paths.lockFile, O_RDWR | O_CREAT, 0o600);
  try {
    syscall("flock", file.number, LOCK_EX_NB);
  } catch (error) {
    file.close();
    if (!isErrno(error, "EAGAIN")) throw error;
    throw new FailedPreconditionError(`another podrt serve runs on ${paths.runDir}: stop it, or use --root`);
  }
  return file;
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  });
}
