// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import manifest from "../../package.json" with { type: "json" };
import {
  DeadlineExceededError,
  FailedPreconditionError,
  InvalidArgumentError,
  messageOf,
  UnimplementedError,
} from "../errors.ts";
import {
  type ConfigureResponse,
  type ContainerSchema,
  EmptySchema,
  Event,
  Plugin as PluginService,
  type PodSandboxSchema,
  RegisterPluginRequestSchema,
  Runtime as RuntimeService,
  type UpdateContainersRequest,
  UpdateContainersRequestSchema,
  type UpdateContainersResponse,
  UpdateContainersResponseSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import type { Request } from "../gen/ttrpc/ttrpc_pb.ts";
import { withDeadline } from "../lib/deadline.ts";
import type { Logger } from "../lib/logger.ts";
import { CODE, Connection, RemoteError } from "./connection.ts";

/** The version of the interface that podrt's messages are from. */
const NRI_VERSION = "v0.12.5";
const ALL_EVENTS = 2 ** (Event.LAST - 1) - 1;
const NAME = /^[A-Za-z0-9_.+-]{1,128}$/;
const INDEX = /^[0-9]{2}$/;

/** What podrt knows of a plugin that it has started itself. */
export interface KnownPlugin {
  /** Index and name, as in `10-topology`. */
  readonly name: string;
  readonly configuration: string;
}

export interface PluginSettings {
  readonly known?: KnownPlugin | undefined;
  readonly registrationTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly log: Logger;
  /** Does what a plugin asks for of itself. */
  updateContainers(plugin: Plugin, request: UpdateContainersRequest): Promise<UpdateContainersResponse>;
}

/** What an event is about; pods' have no container. */
export interface EventBody {
  readonly pod?: MessageInitShape<typeof PodSandboxSchema>;
  readonly container?: MessageInitShape<typeof ContainerSchema>;
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethodUnary<I, O>;

/** A plugin that is connected; it has said who it is and what it wants to hear. */
export class Plugin {
  readonly #connection: Connection;
  readonly #settings: PluginSettings;
  readonly #registered = Promise.withResolvers<void>();
  #name = "";
  #subscription: Pick<ConfigureResponse, "events" | "failurePolicy"> = { events: 0 };
  /** It is older than the calls for single events, and hears of those by StateChange. */
  #isOld = false;

  private constructor(socket: Socket, settings: PluginSettings) {
    this.#settings = settings;
    // Rejected also where nobody waits for it any more.
    this.#registered.promise.catch(() => {});
    this.#connection = new Connection(socket, {
      onRequest: (request) => this.#answer(request),
      onClose: (reason) => {
        this.#registered.reject(reason);
        if (this.#name !== "") {
          settings.log.warn({ plugin: this.#name }, `NRI plugin ${this.#name} is gone: ${reason.message}`);
        }
      },
    });
  }

  /** Waits until what is at the other end of `socket` has registered, and configures it; else the connection ends. */
  static async accept(socket: Socket, settings: PluginSettings): Promise<Plugin> {
    const plugin = new Plugin(socket, settings);
    try {
      const { registrationTimeoutMs } = settings;
      await withDeadline(
        plugin.#registered.promise,
        registrationTimeoutMs,
        "the registration of an NRI plugin",
      );
      await plugin.#configure();
      return plugin;
    } catch (error) {
      plugin.close(error instanceof Error ? error : new Error(messageOf(error)));
      throw error;
    }
  }

  /** Index and name, as in `10-topology`: by it plugins are ordered and told apart. */
  get name(): string {
    return this.#name;
  }

  get isClosed(): boolean {
    return this.#connection.isClosed;
  }

  close(reason: Error): void {
    this.#connection.close(reason);
  }

  isSubscribedTo(event: Event): boolean {
    return (this.#subscription.events & (1 << (event - 1))) !== 0;
  }

  /** Asks the plugin whatever it is subscribed to. */
  async call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const payload = toBinary(method.input, create(method.input, request));
    const { requestTimeoutMs } = this.#settings;
    const reply = await this.#connection.call(PluginService.typeName, method.name, payload, requestTimeoutMs);
    return fromBinary(method.output, reply);
  }

  /**
   * Asks the plugin about an event; undefined where it is not subscribed to it, or fails. A plugin that fails is
   * dropped and done without, unless its policy says otherwise; its refusal is a FailedPreconditionError.
   */
  async relay<I extends DescMessage, O extends DescMessage>(
    event: Event,
    method: Method<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O> | undefined> {
    if (this.isClosed || !this.isSubscribedTo(event)) return undefined;
    try {
      return await this.call(method, request);
    } catch (error) {
      return this.#failed(method.name, error);
    }
  }

  /** The same for an event to which there is no answer. */
  async tell<O extends DescMessage>(
    event: Event,
    method: Method<DescMessage, O>,
    request: EventBody,
  ): Promise<void> {
    if (this.isClosed || !this.isSubscribedTo(event)) return;
    try {
      if (!this.#isOld) {
        await this.call(method, request as MessageInitShape<DescMessage>).catch((error) => {
          if (!(error instanceof RemoteError) || error.code !== CODE.unimplemented) throw error;
          this.#isOld = true;
        });
      }
      if (this.#isOld) await this.call(PluginService.method.stateChange, { ...request, event });
    } catch (error) {
      this.#failed(method.name, error);
    }
  }

  #failed(method: string, error: unknown): undefined {
    const { failurePolicy } = this.#subscription;
    if (error instanceof RemoteError) {
      throw new FailedPreconditionError(`NRI plugin ${this.#name} refuses ${method}: ${error.message}`);
    }
    const problem = `NRI plugin ${this.#name} failed to answer ${method}: ${messageOf(error)}`;
    const isKept = error instanceof DeadlineExceededError && failurePolicy?.keepConnected === true;
    this.#settings.log.error({ plugin: this.#name }, isKept ? problem : `${problem}; it is dropped`);
    if (!isKept) this.close(error instanceof Error ? error : new Error(messageOf(error)));
    if (failurePolicy?.failRequest) throw new FailedPreconditionError(problem);
    return undefined;
  }

  async #answer({ service, method, payload }: Request): Promise<Uint8Array> {
    if (service === RuntimeService.typeName) {
      if (method === RuntimeService.method.registerPlugin.name) return this.#register(payload);
      if (method === RuntimeService.method.updateContainers.name) {
        if (this.#name === "") throw new FailedPreconditionError("the plugin has not registered");
        const request = fromBinary(UpdateContainersRequestSchema, payload);
        const response = await this.#settings.updateContainers(this, request);
        return toBinary(UpdateContainersResponseSchema, response);
      }
    }
    throw new UnimplementedError(`podrt has no ${service}/${method}`);
  }

  #register(payload: Uint8Array): Uint8Array {
    const { pluginName, pluginIdx } = fromBinary(RegisterPluginRequestSchema, payload);
    const refuse = (path: string, problem: string): never => {
      const error = new InvalidArgumentError(path, problem);
      this.#registered.reject(error);
      throw error;
    };
    if (this.#name !== "") refuse("plugin_name", `the plugin has registered as ${this.#name} already`);
    if (!NAME.test(pluginName)) refuse("plugin_name", "is not 1 to 128 of letters, digits and _.+-");
    if (!INDEX.test(pluginIdx)) refuse("plugin_idx", "is not two digits");
    // One that podrt has started goes by the name of its file, whatever it calls itself.
    this.#name = this.#settings.known?.name ?? `${pluginIdx}-${pluginName}`;
    this.#registered.resolve();
    return toBinary(EmptySchema, create(EmptySchema));
  }

  async #configure(): Promise<void> {
    const response = await this.call(PluginService.method.configure, {
      config: this.#settings.known?.configuration ?? "",
      runtimeName: manifest.name,
      runtimeVersion: manifest.version,
      registrationTimeout: BigInt(this.#settings.registrationTimeoutMs),
      requestTimeout: BigInt(this.#settings.requestTimeoutMs),
      NRIVersion: NRI_VERSION,
    });
    const unknown = response.events & ~ALL_EVENTS;
    if (unknown !== 0) {
      throw new InvalidArgumentError(
        "events",
        `has bits that are no event: 0x${(unknown >>> 0).toString(16)}`,
      );
    }
    this.#subscription = { ...response, events: response.events === 0 ? ALL_EVENTS : response.events };
  }
}
