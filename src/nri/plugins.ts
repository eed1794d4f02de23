// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { create, type DescMessage, type DescMethodUnary } from "@bufbuild/protobuf";
import type { LifecycleEvent } from "../container/events.ts";
import { mergeResources } from "../container/merge-resources.ts";
import type { Creation, LifecyclePlugins, PodResources } from "../container/plugins.ts";
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { messageOf, UnavailableError } from "../errors.ts";
import {
  type ContainerUpdate,
  Event,
  Plugin as PluginService,
  type UpdateContainersRequest,
  type UpdateContainersResponse,
  UpdateContainersResponseSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import type { LinuxContainerResources } from "../gen/runtime/v1/api_pb.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import { listenExclusively } from "../lib/socket-claim.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { Claims } from "./claims.ts";
import { adjustCreation } from "./create-container.ts";
import { type InstalledPlugin, installedPlugins } from "./installed.ts";
import { launchPlugin } from "./launch.ts";
import { containerMessage, podMessage } from "./messages.ts";
import { type EventBody, type KnownPlugin, Plugin } from "./plugin.ts";
import { criResources, nriResources } from "./resources.ts";
import { synchronize } from "./synchronize.ts";
import { applyUpdates, claimUpdates, warnOfEvictions } from "./updates.ts";

/** Plugins and connections that have not registered yet; each may hold back a message of 4 MiB or two. */
const CONNECTION_LIMIT = 32;

const { method } = PluginService;
const TURN = "plugins";

type EventMethod = DescMethodUnary<DescMessage, DescMessage>;

/**
 * The plugins of the Node Resource Interface that are connected. They are asked in the order of their indexes, and
 * about one thing at a time: what happened first is told first, and a plugin that connects misses nothing.
 */
export class NriPlugins implements LifecyclePlugins {
  readonly #turns = new KeyedLock();
  #runtime: Runtime | undefined;
  #server: Server | undefined;
  #connections = new Set<Socket>();
  #plugins: Plugin[] = [];
  /** Pods of which plugins have heard that they stopped. */
  readonly #stopped = new Set<string>();
  /** Of programs that were started: each resolves when its program has ended. */
  readonly #ends = new Set<Promise<void>>();

  /** Lets plugins connect, for the pods of `runtime`, and starts those that are installed; they know of all pods then. */
  async listen(runtime: Runtime): Promise<void> {
    this.#runtime = runtime;
    runtime.events.subscribe((event) => this.#hear(event));
    const server = createServer((socket) => void this.#accept(socket));
    this.#server = server;
    const path = socketOf(runtime);
    await listenExclusively(server, path, { holder: "process", remedy: "set nri.socket" });
    runtime.log.info({ socket: path }, "NRI plugins can connect");
    const { plugin_path, plugin_config_path } = runtime.config.nri;
    const installed = installedPlugins(plugin_path, plugin_config_path, runtime.log);
    await Promise.all(installed.map((plugin) => this.#start(plugin)));
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const plugin of this.#plugins) plugin.close(new UnavailableError("podrt stops"));
    for (const socket of this.#connections) socket.destroy();
    await Promise.all(this.#ends);
    await closed;
    rmSync(socketOf(this.#served()), { force: true });
  }

  async runPodSandbox(pod: SandboxRecord): Promise<void> {
    await this.#tell(Event.RUN_POD_SANDBOX, method.runPodSandbox, { pod: podMessage(pod) });
  }

  async updatePodSandbox(pod: SandboxRecord, { resources, overhead }: PodResources): Promise<void> {
    const request = {
      pod: podMessage(pod),
      ...(overhead === undefined ? {} : { overheadLinuxResources: nriResources(overhead) }),
      ...(resources === undefined ? {} : { linuxResources: nriResources(resources) }),
    };
    await this.#inTurn(async (plugins) => {
      for (const plugin of plugins) {
        await plugin.relay(Event.UPDATE_POD_SANDBOX, method.updatePodSandbox, request);
      }
    });
  }

  async postUpdatePodSandbox(pod: SandboxRecord): Promise<void> {
    await this.#tellAfterwards(Event.POST_UPDATE_POD_SANDBOX, method.postUpdatePodSandbox, {
      pod: podMessage(pod),
    });
  }

  async stopPodSandbox(pod: SandboxRecord): Promise<void> {
    if (this.#stopped.has(pod.id)) return;
    this.#stopped.add(pod.id);
    await this.#tellAfterwards(Event.STOP_POD_SANDBOX, method.stopPodSandbox, { pod: podMessage(pod) });
  }

  async removePodSandbox(pod: SandboxRecord): Promise<void> {
    this.#stopped.delete(pod.id);
    await this.#tellAfterwards(Event.REMOVE_POD_SANDBOX, method.removePodSandbox, { pod: podMessage(pod) });
  }

  async createContainer(record: ContainerRecord, asked: Creation): Promise<Creation> {
    const runtime = this.#served();
    const pod = runtime.sandboxes.get(record.sandboxId);
    if (pod === undefined) return asked;
    const { creation, updates } = await this.#inTurn((plugins) =>
      adjustCreation(runtime, plugins, pod, record, asked),
    );
    await applyUpdates(runtime, updates);
    return creation;
  }

  async startContainer(record: ContainerRecord): Promise<void> {
    await this.#tell(Event.START_CONTAINER, method.startContainer, this.#about(record));
  }

  async updateContainer(
    record: ContainerRecord,
    change: LinuxContainerResources,
  ): Promise<LinuxContainerResources> {
    const runtime = this.#served();
    const others: ContainerUpdate[] = [];
    const changed = await this.#inTurn(async (plugins) => {
      const claims = new Claims();
      let wanted = change;
      for (const plugin of plugins) {
        const request = { ...this.#about(record), linuxResources: nriResources(wanted) };
        const reply = await plugin.relay(Event.UPDATE_CONTAINER, method.updateContainer, request);
        warnOfEvictions(runtime, plugin.name, reply?.evict ?? []);
        for (const update of claimUpdates(runtime, claims, reply?.update ?? [], plugin.name)) {
          const resources = update.linux?.resources;
          if (update.containerId !== record.id) others.push(update);
          else if (resources !== undefined) wanted = mergeResources(wanted, criResources(resources));
        }
      }
      return wanted;
    });
    await applyUpdates(runtime, others);
    return changed;
  }

  async postUpdateContainer(record: ContainerRecord): Promise<void> {
    await this.#tellAfterwards(Event.POST_UPDATE_CONTAINER, method.postUpdateContainer, this.#about(record));
  }

  async removeContainer(record: ContainerRecord): Promise<void> {
    // One that never ran has not ended either; plugins let go of what they keep for a container when it stops.
    if (containerState(record) === "created") await this.#stopContainer(record);
    await this.#tellAfterwards(Event.REMOVE_CONTAINER, method.removeContainer, this.#about(record));
  }

  /** What has happened to containers already, whoever did it. */
  #hear({ type, containerId, sandboxId }: LifecycleEvent): void {
    const record = containerId === sandboxId ? undefined : this.#served().containers.get(containerId);
    if (record === undefined) return;
    const about = this.#about(record);
    if (type === "created") {
      void this.#tellAfterwards(Event.POST_CREATE_CONTAINER, method.postCreateContainer, about);
    } else if (type === "started") {
      void this.#tellAfterwards(Event.POST_START_CONTAINER, method.postStartContainer, about);
    } else if (type === "stopped") void this.#stopContainer(record);
  }

  async #stopContainer(record: ContainerRecord): Promise<void> {
    const runtime = this.#served();
    try {
      const updates = await this.#inTurn(async (plugins) => {
        const claims = new Claims();
        const asked: ContainerUpdate[] = [];
        for (const plugin of plugins) {
          const reply = await plugin.relay(Event.STOP_CONTAINER, method.stopContainer, this.#about(record));
          asked.push(...claimUpdates(runtime, claims, reply?.update ?? [], plugin.name));
        }
        return asked;
      });
      await applyUpdates(runtime, updates);
    } catch (error) {
      runtime.log.error({ err: error, container: record.id }, "an NRI plugin's answer could not be followed");
    }
  }

  #about(record: ContainerRecord): EventBody {
    const pod = this.#served().sandboxes.get(record.sandboxId);
    return { ...(pod === undefined ? {} : { pod: podMessage(pod) }), container: containerMessage(record) };
  }

  async #tell(event: Event, eventMethod: EventMethod, about: EventBody): Promise<void> {
    await this.#inTurn(async (plugins) => {
      for (const plugin of plugins) await plugin.tell(event, eventMethod, about);
    });
  }

  /** Of what has happened already; a refusal comes too late, and keeps nobody else from hearing of it. */
  async #tellAfterwards(event: Event, eventMethod: EventMethod, about: EventBody): Promise<void> {
    await this.#inTurn(async (plugins) => {
      for (const plugin of plugins) {
        await plugin
          .tell(event, eventMethod, about)
          .catch((error) => this.#served().log.error({ plugin: plugin.name }, messageOf(error)));
      }
    });
  }

  #inTurn<T>(work: (plugins: readonly Plugin[]) => Promise<T>): Promise<T> {
    return this.#turns.run(TURN, () => {
      this.#plugins = this.#plugins.filter((plugin) => !plugin.isClosed);
      return work(this.#plugins);
    });
  }

  /** Resolves when the plugin is connected, or is not going to be. It is started once, and not again when it ends. */
  async #start(installed: InstalledPlugin): Promise<void> {
    const { index, name, configuration } = installed;
    const known = { name: `${index}-${name}`, configuration };
    try {
      const { socket, end } = launchPlugin(installed, (line) =>
        this.#served().log.info({ plugin: known.name }, line),
      );
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      const ended = closed
        .then(end)
        .catch((err) =>
          this.#served().log.error({ err }, `the program of NRI plugin ${known.name} may be left`),
        )
        .finally(() => this.#ends.delete(ended));
      this.#ends.add(ended);
      await this.#accept(socket, known);
    } catch (error) {
      this.#served().log.error(`NRI plugin ${known.name} cannot be started: ${messageOf(error)}`);
    }
  }

  async #accept(socket: Socket, known?: KnownPlugin): Promise<void> {
    const runtime = this.#served();
    if (this.#connections.size >= CONNECTION_LIMIT) {
      runtime.log.warn(`an NRI plugin is sent away: there are ${CONNECTION_LIMIT} connections already`);
      socket.destroy();
      return;
    }
    this.#connections.add(socket);
    socket.once("close", () => this.#connections.delete(socket));
    const { registration_timeout_ms, request_timeout_ms } = runtime.config.nri;
    let plugin: Plugin | undefined;
    try {
      const accepted = await Plugin.accept(socket, {
        known,
        registrationTimeoutMs: registration_timeout_ms,
        requestTimeoutMs: request_timeout_ms,
        log: runtime.log,
        updateContainers: (asking, request) => this.#updateContainers(asking, request),
      });
      plugin = accepted;
      const updates = await this.#inTurn(async (plugins) => {
        const asked = await synchronize(runtime, accepted);
        this.#plugins = [...plugins, accepted].sort((a, b) => (a.name < b.name ? -1 : 1));
        return asked;
      });
      runtime.log.info({ plugin: plugin.name }, "an NRI plugin is connected");
      await applyUpdates(runtime, updates, plugin.name);
    } catch (error) {
      const name = plugin?.name ?? known?.name ?? "that has no name yet";
      runtime.log.error(`NRI plugin ${name} is sent away: ${messageOf(error)}`);
      socket.destroy();
    }
  }

  async #updateContainers(
    plugin: Plugin,
    { update, evict }: UpdateContainersRequest,
  ): Promise<UpdateContainersResponse> {
    const runtime = this.#served();
    warnOfEvictions(runtime, plugin.name, evict);
    const failed = await applyUpdates(runtime, update, plugin.name);
    return create(UpdateContainersResponseSchema, { failed });
  }

  #served(): Runtime {
    if (this.#runtime === undefined) throw new UnavailableError("no plugin can have connected yet");
    return this.#runtime;
  }
}

function socketOf({ config, paths }: Runtime): string {
  return config.nri.socket ?? paths.nriSocket;
}
