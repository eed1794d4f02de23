// SPDX-License-Identifier: Apache-2.0
import { hostname } from "node:os";
import type { AttachmentRecord } from "../cni/attachment-record.ts";
import { CniNetwork } from "../cni/network.ts";
import { selectNetwork } from "../cni/selected-network.ts";
import type { Config } from "../config.ts";
import { newEvents } from "../container/events.ts";
import { imagesInUse, type Runtime } from "../container/runtime.ts";
import { DNS_PORT, NO_NAME_SERVER, openNameServer } from "../dns/name-server.ts";
import { upstreamsOf } from "../dns/upstream.ts";
import { FailedPreconditionError } from "../errors.ts";
import { openContentStore } from "../image/content-store.ts";
import { type ImageRecord, openImages } from "../image/images.ts";
import { startUnpacker } from "../image/unpack.ts";
import { reserveLowFds } from "../launch/low-fds.ts";
import { probeUserNamespaces } from "../launch/user-namespace-probe.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import { logger } from "../lib/logger.ts";
import { daemonCapabilities } from "../linux/capability.ts";
import { BorrowedFile } from "../linux/cgroup/borrowed-file.ts";
import { type CgroupHost, detectCgroups } from "../linux/cgroup/host.ts";
import { bootId } from "../linux/process.ts";
import { openBridgeNetwork } from "../network/bridge.ts";
import type { LeaseRecord } from "../network/ipam.ts";
import type { Paths } from "../paths.ts";
import { openOverlaySnapshotter } from "../snapshot/overlay.ts";
import type { LayerRecord } from "../snapshot/snapshotter.ts";
import { openContainers } from "../state/containers.ts";
import type { State } from "../state/open-state.ts";
import { openSandboxes } from "../state/sandboxes.ts";
import { attachmentSchema, imageSchema, layerSchema, leaseSchema } from "../state/schemas.ts";
import { openTable, type Table } from "../state/table.ts";
import { openSystemd } from "../systemd/manager.ts";

/**
 * Puts the daemon together: its stores, networks and tables, and what the machine and the kernel offer. Nothing of it
 * has been compared with the machine yet. `close` ends the threads that it has started; the database is the caller's.
 */
export function openRuntime(
  paths: Paths,
  config: Config,
  { database, putAside, damage }: State,
  { securityModules, plugins }: Pick<Runtime, "securityModules" | "plugins">,
): { runtime: Runtime; settings: Table<unknown>; close: () => Promise<void> } {
  reserveLowFds();
  const sandboxes = openSandboxes(database, putAside);
  const containers = openContainers(database, putAside);
  const settings = openTable<unknown>(database, "settings", { putAside });
  const layers = openTable<LayerRecord>(database, "layers", { schema: layerSchema, putAside });
  const snapshotter = openOverlaySnapshotter({ paths, layers });
  const unpacker = startUnpacker();
  const content = openContentStore(paths);
  const images = openImages({
    paths,
    config,
    table: openTable<ImageRecord>(database, "images", { schema: imageSchema, putAside }),
    content,
    snapshotter,
    unpacker,
    inUse: () => imagesInUse({ containers, sandboxes }),
    damage,
  });
  const { cniConfDir, cniRequired, cniPluginDirs, cniTimeoutMs } = config.network;
  const cni = new CniNetwork({
    directory: cniConfDir ?? paths.cniConfDir,
    isRequired: cniRequired,
    place: { directories: cniPluginDirs, timeoutMs: cniTimeoutMs },
    attachments: openTable<AttachmentRecord>(database, "attachments", { schema: attachmentSchema, putAside }),
    settings,
    log: logger,
  });
  const systemd = openSystemd(process.env["DBUS_SYSTEM_BUS_ADDRESS"]);
  const leases = openTable<LeaseRecord>(database, "leases", { schema: leaseSchema, putAside });
  const network = selectNetwork(
    openBridgeNetwork({ config: config.network, leases, settings, log: logger }),
    cni,
  );
  const cgroups = cgroupsFor(config);
  const borrowed = new BorrowedFile(paths.borrowedCgroupFile);
  const runtime: Runtime = {
    paths,
    config,
    sandboxes,
    containers,
    images,
    content,
    snapshotter,
    network,
    nameServer: config.dns.enabled
      ? openNameServer({
          gateways: () => network.own.gatewayAddresses(),
          isUsed: () => network.own.isUsed(),
          isClient: (address) => network.own.hasAddress(address),
          upstreams: () => upstreamsOf(config.dns.upstreams),
          port: DNS_PORT,
          log: logger,
        })
      : NO_NAME_SERVER,
    cgroups: { ...cgroups, borrowed },
    systemd,
    events: newEvents((err) => logger.error({ err }, "a listener of events failed")),
    plugins,
    locks: new KeyedLock(),
    monitors: new Map(),
    live: new Map(),
    execs: new Map(),
    bootId: bootId(),
    hostname: hostname(),
    capabilities: daemonCapabilities(),
    securityModules,
    damage,
    userNamespaces: probeUserNamespaces(paths.ingestDir, paths.rootMountPoint),
    log: logger,
  };
  const close = async () => {
    runtime.nameServer.close();
    await images.settled();
    await unpacker.close();
    await snapshotter.close();
    systemd.close();
    borrowed.close();
  };
  return { runtime, settings, close };
}

/** systemd delegates cgroups on v2 alone: on v1 it hands no controllers down. */
function cgroupsFor({ cgroup }: Config): CgroupHost {
  const host = detectCgroups();
  if (cgroup.driver === "cgroupfs" || host.version === "v2") return host;
  throw new FailedPreconditionError(
    `cgroup.driver = "systemd" needs a machine with cgroup v2 alone, and the controllers of this one are in cgroup v1 (${host.version}): boot it with systemd.unified_cgroup_hierarchy=1, or set cgroup.driver = "cgroupfs"`,
  );
}
